"""What Ray costs beside the plain path, how rows per second grow with workers, and that memory does not grow with rows.

    python benchmarks/ray_data.py [--rows 100000] [--plain-rows 25000] [--write]

Made-up images (PNG of 96 x 96 pixels, all different) stand in Parquet files as bytes. The plain path is
`JinaClipEncoder` in one process that reads the same files, batch by batch, and writes the vectors to Parquet; Ray is
`embed_dataset` on a cluster of this machine. Both have the demo model, the same cores in all and the same files. The
clock runs from the call to the last vector on the disk: the workers' start and the loading of their models are within
it, the cluster's start, which a job does not repeat, is told apart. Memory is that of the program and of all processes
of Ray, their shared object store counted once, sampled twice a second.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image
from pyarrow import parquet
from reporting import Option, heading, in_own_process, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.retrieval.vector_table import EMBEDDING, list_type, to_list_array

SIDE = 96
ROWS_PER_FILE = 5_000
BATCH_ROWS = 256
WARM_UP_ROWS = 512
MODEL = {"model": "demo", "backend": "local"}


def report(rows: int, plain_rows: int) -> str:
    """Rates of the plain path and of Ray, and the memory of a short and of a long job."""
    cores = len(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder:
        write_images(Path(folder) / "warm", WARM_UP_ROWS)
        for name, count in (("short", plain_rows), ("long", rows)):
            write_images(Path(folder) / name, count)
        plain = in_own_process(__file__, "plain", folder, "short", "1")
        runs = [("short", workers) for workers in range(1, cores + 1)] + [("long", cores)]
        measured = [in_own_process(__file__, "ray", folder, name, str(workers)) for name, workers in runs]
    lines = [describe("plain, 1 process", plain, plain)]
    lines += [describe(f"Ray, {plural(one['workers'])}", one, plain) for one in measured]
    short, long = measured[-2:]
    cost = f"In the long job Ray costs {100 * (1 - long['rate'] / plain['rate']):.0f} % of the plain path's rate. "
    growth = f"{rows / plain_rows:.1f} times the rows took {long['peak'] / short['peak']:.2f} times the memory.\n"
    return "\n".join(
        [
            heading("Bulk embedding on Ray", __file__),
            f"Images of {SIDE} x {SIDE} pixels, demo model, {cores} cores for every line.\n",
            table(("path", ">rows", ">seconds", ">rows/s", ">of the plain path", ">start", ">memory"), lines),
            cost + growth,
        ]
    )


def plural(workers: int) -> str:
    """`1 worker`, `2 workers`."""
    return f"{workers} worker{'' if workers == 1 else 's'}"


def describe(path: str, one: dict[str, Any], plain: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    share = f"{100 * one['rate'] / plain['rate']:.0f} %"
    figures = (f"{one['rows']:,}", f"{one['seconds']:.1f}", f"{one['rate']:,.0f}", share, f"{one['start_s']:.1f} s")
    return (path, *figures, f"{one['peak'] / 1e6:,.0f} MB")


def write_images(folder: Path, rows: int) -> None:
    """Files of made-up images; the same ones for the same numbers."""
    folder.mkdir()
    for start in range(0, rows, ROWS_PER_FILE):
        numbers = range(start, min(start + ROWS_PER_FILE, rows))
        images = pa.table({"image": [make_image(number) for number in numbers]})
        parquet.write_table(images, folder / f"{start:09}.parquet", row_group_size=BATCH_ROWS)


def make_image(number: int) -> bytes:
    """A PNG with some structure."""
    small = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    content = BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE)).save(content, "PNG", compress_level=1)
    return content.getvalue()


def case(path: str, folder: str, name: str, workers: str) -> dict[str, Any]:
    """One line, in a process of its own."""
    warm, source = Path(folder) / "warm", Path(folder) / name
    measure = measure_plain if path == "plain" else measure_ray
    return {"workers": int(workers), **measure(warm, source, int(workers))}


def measure_plain(warm: Path, source: Path, workers: int) -> dict[str, Any]:
    """The encoder in this process."""
    del workers
    started_s = time.perf_counter()
    with JinaClipEncoder(**MODEL) as encoder:
        embed_plain(encoder, warm)
        begun_s = time.perf_counter()
        with PeakOfAll() as memory:
            rows = embed_plain(encoder, source)
    return figures(rows, started_s, begun_s, memory)


def embed_plain(encoder: JinaClipEncoder, source: Path) -> int:
    """Read, embed and write everything, a batch at a time; the rows."""
    rows = 0
    schema = pa.schema([(EMBEDDING, list_type(encoder.dimensions))])
    with TemporaryDirectory() as made, parquet.ParquetWriter(Path(made) / "x.parquet", schema) as writer:
        images = (image for batch in read_batches(source) for image in batch)
        for vectors in encoder.iter_encode(({"image": image} for image in images), chunk_size=BATCH_ROWS):
            writer.write_table(pa.table([to_list_array(vectors, schema.field(EMBEDDING).type)], schema=schema))
            rows += len(vectors)
    return rows


def read_batches(source: Path) -> Iterator[list[bytes]]:
    """The images of all files."""
    for path in sorted(source.glob("*.parquet")):
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield batch.column("image").to_pylist()


def measure_ray(warm: Path, source: Path, workers: int) -> dict[str, Any]:
    """`embed_dataset` on a cluster of this process."""
    from jina_clip_integrations.ray import embed_dataset
    from jina_clip_integrations.ray.cluster import attached

    started_s = time.perf_counter()
    with attached(), TemporaryDirectory() as made:
        embed_dataset(warm, f"{made}/warm", image="image", workers=workers, **MODEL)
        begun_s = time.perf_counter()
        with PeakOfAll() as memory:
            rows = embed_dataset(source, f"{made}/out", image="image", workers=workers, **MODEL).rows
        return figures(rows, started_s, begun_s, memory)


def figures(rows: int, started_s: float, begun_s: float, memory: PeakOfAll) -> dict[str, Any]:
    """What a line says."""
    seconds = time.perf_counter() - begun_s
    return {
        "rows": rows,
        "seconds": seconds,
        "rate": rows / seconds,
        "start_s": begun_s - started_s,
        "peak": memory.peak,
    }


class PeakOfAll:
    """The highest memory of this process and of everything that it started: private pages, and shared ones once."""

    def __enter__(self) -> PeakOfAll:
        self.peak = 0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            self.peak = max(self.peak, occupied())


def occupied() -> int:
    """Bytes of this process and its descendants. Ray's object store is memory that its processes share."""
    me = psutil.Process()
    private, shared = 0, [0]
    for process in (me, *me.children(recursive=True)):
        with suppressed():
            info = process.memory_info()
            private += info.rss - info.shared
            shared.append(info.shared)
    return private + max(shared)


@contextmanager
def suppressed() -> Iterator[None]:
    """A process may end while it is looked at."""
    try:
        yield
    except psutil.Error:
        return


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        case=case,
        rows=Option(100_000, "rows of the long job"),
        plain_rows=Option(25_000, "rows of the others; a fourth of the long one shows that memory stays"),
    )
