"""How long it takes to bring a store up to date with a folder: new images, none, old stores, single changes.

    python benchmarks/folder_index.py [--images 10000]

Images of 256 x 192 pixels as JPEG with EXIF data, in folders of a hundred, in an embedded store. `demo` embeds with the
demo model; `no model` gives random vectors without looking at a pixel, so that what remains is scanning, hashing,
reading facts and storing. `unchanged` is a second run; `facts alone` a run over a store of before there were facts;
`one changed` a run that is told which file changed, as by `--watch`; `open` opens the store of all images.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from reporting import Option, heading, in_own_process, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.base import Batch, BatchResult, Usage
from jina_clip_integrations.catalog import ModelSpec
from jina_clip_integrations.collections.facts import read_facts
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.collections.payload import FACTS

FEW = 1_000
SIZE = (256, 192)
WIDTH = 128


class NoModel:
    """A backend that gives random vectors at once."""

    model = "none"
    dimensions = WIDTH
    spec = ModelSpec(name="none", embed_dim=WIDTH, matryoshka_dimensions=(WIDTH,), image_size=256)
    batch_size = 256
    cache_identity = "none"

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def embed(self, batch: Batch) -> BatchResult:
        rows = self._random.standard_normal((len(batch), WIDTH), np.float32)
        return BatchResult(rows, positions=list(range(len(batch))), errors={}, usage=Usage(total_tokens=0, requests=1))


def report(images: int) -> str:
    """Measure every case in a process of its own and return the report."""
    rows = []
    for kind, count in (("demo", FEW), ("no model", FEW), ("no model", images)):
        found = in_own_process(__file__, kind, str(count))
        seconds = [f"{found[name]:,.2f}" for name in ("new", "open", "unchanged", "facts alone", "one changed")]
        rows.append([kind, f"{count:,}", f"{count / found['new']:,.0f}", *seconds, f"{found['facts']:,.2f}"])
    columns = ["model", ">images", ">new images / s", ">all new, s", ">open", ">unchanged", ">facts alone"]
    columns += [">one changed", ">ms to read the facts of one"]
    return f"{heading('Indexing a folder', __file__)}\n{table(columns, rows)}"


def case(kind: str, count: str) -> dict[str, float]:
    """One folder."""
    encoder = JinaClipEncoder("demo", backend="local") if kind == "demo" else JinaClipEncoder(backend=NoModel())
    encoder.encode_image(Image.new("RGB", SIZE))
    with tempfile.TemporaryDirectory() as place:
        root, store = Path(place, "images"), Path(place, "store")
        paths = make_images(root, int(count))
        return {
            **measure(root, store, encoder),
            "facts": 1000 * timed(lambda: list(map(read_facts, paths))) / len(paths),
        }


def make_images(root: Path, count: int) -> list[Path]:
    """Images that differ, some of which were taken by a camera at a place."""
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 5D"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:17 12:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)})
    block = exif.tobytes()
    paths = []
    for number in range(count):
        path = root / f"{number // 100:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=80, exif=block)
        paths.append(path)
    return paths


def measure(root: Path, store: Path, encoder: JinaClipEncoder) -> dict[str, float]:
    """Seconds of every kind of run."""
    figures: dict[str, float] = {}
    with FolderCollection.open(root, encoder=encoder, store=store) as collection:
        figures["new"] = timed(collection.index)
    started_s = time.perf_counter()
    with FolderCollection.open(root, encoder=encoder, store=store) as collection:
        figures["open"] = time.perf_counter() - started_s
        figures["unchanged"] = timed(collection.index)
        (root / "new.jpg").write_bytes((root / "000" / "000000.jpg").read_bytes())
        figures["one changed"] = timed(lambda: collection.index(only={"new.jpg"}))
        forget_facts(collection)
    with FolderCollection.open(root, encoder=encoder, store=store) as collection:
        figures["facts alone"] = timed(collection.index)
    return figures


def forget_facts(collection: FolderCollection) -> None:
    """Make the store one of before there were facts, as far as a run can tell."""
    with collection.store.client() as client:
        points, _ = client.scroll(collection.store.collection, limit=10**6, with_payload=False)
        client.delete_payload(collection.store.collection, keys=[FACTS], points=[point.id for point in points])


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    run(report, doc=__doc__, case=case, images=Option(10_000, "images of the largest folder"))
