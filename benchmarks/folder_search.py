"""How long a search in a folder takes, with an embedded store: the demo model, and an index of random vectors.

    python benchmarks/folder_search.py [--searches 50]

A store of the demo gallery, repeated to the number of images; every search embeds its words, looks at all vectors and
applies the cut-off. `first` includes reading the store into memory and the background of the cut-off, once per start;
`while indexing` is a search while another thread stores new images all the time. `Qdrant itself` is the same search by
qdrant-client's embedded mode, without the words and the cut-off.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from reporting import Option, heading, in_own_process, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections.filters import Filters
from jina_clip_integrations.collections.identity import CollectionModel
from jina_clip_integrations.collections.payload import MODALITY
from jina_clip_integrations.collections.query import Query
from jina_clip_integrations.collections.scan import SourceFile, Stamp
from jina_clip_integrations.collections.search import FolderSearch
from jina_clip_integrations.collections.store import Entry, FolderStore
from jina_clip_integrations.demo.gallery import gallery

ROOT = Path("/images")
COUNTS = (1_000, 10_000)
WIDTHS = {"demo": 128, "random": 1024}
CHUNK = 500


def report(searches: int) -> str:
    """Measure every case in a process of its own and return the report."""
    rows = []
    for kind, width in WIDTHS.items():
        for count in COUNTS:
            found = in_own_process(__file__, kind, str(count), str(searches))
            rows.append([f"{kind}, {width} wide", f"{count:,}", *(f"{1000 * value:,.0f}" for value in found.values())])
    columns = ["vectors", ">images", ">open, ms", ">first", ">median", ">slowest", ">filtered", ">diverse"]
    columns += [">similar", ">while indexing", ">slowest", ">duplicates", ">Qdrant itself"]
    text = f"Milliseconds, {searches} searches each.\n"
    return f"{heading('Search in a folder', __file__)}\n{text}\n{table(columns, rows)}"


def case(kind: str, count: str, searches: str) -> dict[str, float]:
    """One store."""
    encoder = JinaClipEncoder("demo", backend="local")
    vectors = make_vectors(encoder, kind, int(count))
    width = vectors.shape[1]
    model = CollectionModel.of("mine", width)
    with tempfile.TemporaryDirectory() as folder:
        with FolderStore(folder) as store:
            fill(store, vectors, model)
        return measure(folder, encoder, vectors, model, int(searches))


def make_vectors(encoder: JinaClipEncoder, kind: str, count: int) -> np.ndarray:
    """The gallery's vectors with a little noise, or random ones of the width of jina-clip-v2."""
    random = np.random.default_rng(0)
    if kind == "random":
        return random.standard_normal((count, WIDTHS[kind]), np.float32)
    images = encoder.encode_image([image.data() for image in gallery()])
    repeated = np.resize(images, (count, images.shape[1]))
    return repeated + 0.02 * random.standard_normal(repeated.shape, np.float32)


def entries(start: int, count: int) -> list[Entry]:
    """Images that do not exist, in folders of a hundred."""
    names = [f"{number // 100:03}/{number:06}.jpg" for number in range(start, start + count)]
    return [Entry(SourceFile(ROOT / name, name, "image"), Stamp(1000, 10**18, name)) for name in names]


def fill(store: FolderStore, vectors: np.ndarray, model: CollectionModel) -> None:
    """Store the vectors."""
    store.prepare(model)
    for start in range(0, len(vectors), CHUNK):
        rows = vectors[start : start + CHUNK]
        store.put(ROOT, entries(start, len(rows)), rows, model)


def measure(
    folder: str, encoder: JinaClipEncoder, vectors: np.ndarray, model: CollectionModel, searches: int
) -> dict[str, float]:
    """Seconds of every kind of search."""
    figures: dict[str, float] = {}
    started_s = time.perf_counter()
    with FolderStore(folder) as store:
        figures["open"] = time.perf_counter() - started_s
        search = FolderSearch(store, encoder, root=ROOT)
        random = vectors.shape[1] != WIDTHS["demo"]
        if random:  # vectors of the demo model are narrower: its time is spent, and its result exchanged
            widen(search, vectors)
        words = [image.names["en"] for image in gallery()[:: len(gallery()) // searches]][:searches]
        encoder.encode_text("warm")
        figures["first"] = timed([lambda: search.search("something")])[0]
        plain = timed([lambda one=one: search.search(Query.of(one)) for one in words])
        figures["median"], figures["slowest"] = float(np.median(plain)), max(plain)
        inside = Filters(folder="005", max_bytes=2000)
        figures["filtered"] = median([lambda one=one: search.search(Query.of(one), filters=inside) for one in words])
        figures["diverse"] = median([lambda one=one: search.search(Query.of(one), diversity=0.5) for one in words])
        names = [entry.file.name for entry in entries(0, searches)]
        figures["similar"] = median([lambda one=one: search.search(Query.of(similar_to=one)) for one in names])
        with Indexing(store, vectors, model):
            busy = timed([lambda one=one: search.search(Query.of(one)) for one in words])
        figures["busy"], figures["slowest busy"] = float(np.median(busy)), max(busy)
        figures["duplicates"] = timed([search.duplicates])[0]
        figures["qdrant"] = median([lambda: ask_qdrant(store, vectors[0])] * 5)
    return figures


def widen(search: FolderSearch, vectors: np.ndarray) -> None:
    """Embed words with the demo model as ever, and search with a random vector of the wider store."""
    embed = Query.embed
    random = np.random.default_rng(1)
    search._texts = random.standard_normal((64, vectors.shape[1]), np.float32)

    def embed_wide(self: Query, encoder: JinaClipEncoder, stored: Callable[[str], np.ndarray]) -> np.ndarray:
        if self.stored:
            return embed(self, encoder, stored)
        embed(self, encoder, stored)
        return random.standard_normal(vectors.shape[1], np.float32) / np.float32(32)

    Query.embed = embed_wide  # type: ignore[method-assign]


class Indexing:
    """Stores new images in another thread while a block runs."""

    def __init__(self, store: FolderStore, vectors: np.ndarray, model: CollectionModel) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(store, vectors, model))

    def _run(self, store: FolderStore, vectors: np.ndarray, model: CollectionModel) -> None:
        start = len(vectors)
        while not self._stop.is_set():
            store.put(ROOT, entries(start, 32), vectors[:32], model)
            start += 32
            self._stop.wait(0.1)  # a model embeds in between

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()


def ask_qdrant(store: FolderStore, vector: np.ndarray) -> None:
    """The same search by the client's embedded mode."""
    from qdrant_client import models

    image = models.FieldCondition(key=MODALITY, match=models.MatchValue(value="image"))
    with store.client() as client:
        client.query_points(store.collection, query=vector.tolist(), query_filter=models.Filter(must=[image]), limit=20)


def timed(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds of each call."""
    seconds = []
    for call in calls:
        started_s = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started_s)
    return seconds


def median(calls: list[Callable[[], object]]) -> float:
    """The median of their seconds."""
    return float(np.median(timed(calls)))


if __name__ == "__main__":
    run(report, doc=__doc__, case=case, searches=Option(50, "searches of each kind"))
