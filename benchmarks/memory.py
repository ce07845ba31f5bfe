"""Whether memory grows with what is streamed: 100,000 items through `iter_encode`, and how its peak depends on the job.

    python benchmarks/memory.py [--items 100000] [--write]

Every job runs in a process of its own and throws its vectors away, as somebody does who writes them to a store. Memory
is what the process has to itself (anonymous pages), read every 2 ms for the peak, and half-way and at the end of
the stream for the growth; what the model and the libraries take stands in the first column. Texts are made up on the
way, all different. Images are 40 files of mixed sizes up to 12 megapixels, given again and again, 40 at a time.
Locally the demo model computes; over the API `loopback_service.py` answers.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from machine import PeakMemory, private_bytes
from photos import write_photos
from remote import KEY, MODEL, service
from reporting import Option, heading, in_own_process, run, table

from jina_clip_integrations import JinaClipEncoder

MB = 1e6
FEW = 100
"""Items that warm everything up before the first reading."""

PHOTOS = 40
IMAGES_PER = 50
"""A stream of images is shorter than one of texts by this factor: they take longer, and would leave more behind."""


def report(items: int) -> str:
    """All tables."""
    rows = []
    with TemporaryDirectory() as made, service() as url:
        write_photos(Path(made), PHOTOS)
        for kind, where, count in _jobs(items):
            found = in_own_process(__file__, kind, where, str(count), made, url)
            rows.append(
                (
                    f"{kind}, {where}",
                    f"{count:,}",
                    *(f"{found[name] / MB:,.0f} MB" for name in ("start", "half", "end", "peak")),
                    f"{(found['end'] - found['half']) / MB:+,.1f} MB",
                    f"{(found['end'] - found['half']) / (0.5 * count):+,.0f} B",
                )
            )
    columns = ("stream", ">items", ">before", ">half-way", ">at the end", ">peak", ">growth", ">growth per item")
    return "\n".join([heading("Memory of streams", __file__), table(columns, rows)])


def _jobs(items: int) -> Iterator[tuple[str, str, int]]:
    for where in ("local", "api"):
        for count in (items // 10, items):
            yield "texts", where, count
        for count in (items // IMAGES_PER // 10, items // IMAGES_PER):
            yield "images", where, count


def stream(kind: str, where: str, count: str, folder: str, url: str) -> dict[str, float]:
    """Memory of one stream, in bytes."""
    total = int(count)
    with _encoder(where, url) as encoder:
        for _ in encoder.iter_encode(_items(kind, FEW, folder)):
            pass
        with PeakMemory() as memory:
            half, done = 0, 0
            options = {"chunk_size": PHOTOS} if kind == "images" else {}
            for rows in encoder.iter_encode(_items(kind, total, folder), **options):
                done += len(rows)
                if not half and done >= total // 2:
                    half = _settled()
            end = _settled()
    assert done == total
    return {"start": memory.start, "half": half, "end": end, "peak": memory.peak}


@contextmanager
def _encoder(where: str, url: str) -> Iterator[Any]:
    if where == "local":
        encoder = JinaClipEncoder("demo", backend="local")
    else:
        encoder = JinaClipEncoder(MODEL, api_key=KEY, base_url=f"{url}/v1")
    with encoder:
        yield encoder


def _items(kind: str, count: int, folder: str) -> Iterable[dict[str, Any]]:
    if kind == "texts":
        return ({"text": f"image {number} of a red lighthouse"} for number in range(count))
    return islice(({"image": path} for path in cycle(sorted(Path(folder).glob("*.jpg")))), count)


def _settled() -> int:
    gc.collect()
    return private_bytes()


if __name__ == "__main__":
    run(report, doc=__doc__, case=stream, items=Option(100_000, "texts of the longest stream"))
