"""How fast files of vectors go into stores, how much memory that takes and what lies on the disk afterwards.

    python benchmarks/bulk_load.py [--rows 50000] [--dimensions 512] [--write]

Random unit vectors in one Parquet file, with a path each. Every store is new, and every load runs in a process of its
own, without indexes and then once more for the indexes alone. PostgreSQL with pgvector comes from the package
`pgserver`. A Qdrant server is not measured, for want of one here; the embedded Qdrant is for some ten thousand entries.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from machine import PeakMemory
from pyarrow import parquet
from reporting import Option, heading, in_own_process, run, table

from jina_clip_integrations.loading.load import load_files
from jina_clip_integrations.retrieval.fingerprint import model_fingerprint
from jina_clip_integrations.retrieval.vector_table import TableInfo, make_schema, to_list_array

STORES = {"LanceDB": "lancedb:{place}", "PostgreSQL with pgvector": "postgres", "Qdrant, embedded": "qdrant:{place}"}
CLIENTS = {"LanceDB": "lancedb", "PostgreSQL with pgvector": "psycopg", "Qdrant, embedded": "qdrant_client"}
"""Imported before the clock runs."""
EMBEDDED_ROWS = 5_000
ROWS_AT_A_TIME = 10_000


def report(rows: int, dimensions: int) -> str:
    """One line for every store."""
    with TemporaryDirectory() as folder:
        files = {count: write_file(Path(folder), count, dimensions) for count in {rows, min(rows, EMBEDDED_ROWS)}}
        lines = []
        for number, name in enumerate(STORES):
            count = min(rows, EMBEDDED_ROWS) if name.startswith("Qdrant") else rows
            place = Path(folder) / f"store{number}"
            found = in_own_process(__file__, name, str(files[count]), str(place))
            disk = f"{found['disk'] / count:,.0f} B"
            lines.append(
                (
                    name,
                    f"{count:,}",
                    f"{count / found['load_s']:,.0f}",
                    f"{found['index_s']:.1f} s",
                    f"{found['peak'] / 1e6:,.0f} MB",
                    disk,
                )
            )
        size = files[rows].stat().st_size / rows
    columns = ("store", ">rows", ">rows/s", ">indexes", ">memory besides", ">on disk per row")
    return "\n".join(
        [
            heading("Vectors into stores", __file__),
            f"{dimensions} dimensions; {4 * dimensions:,} bytes of vector and {size:,.0f} bytes of Parquet per row.\n",
            table(columns, lines),
        ]
    )


def write_file(folder: Path, rows: int, dimensions: int) -> Path:
    """A file of random unit vectors, written a part at a time."""
    path = folder / f"{rows}.parquet"
    mark = model_fingerprint("jina-clip-v2", dimensions)
    schema = make_schema(TableInfo(model="jina-clip-v2", dimensions=dimensions, fingerprint=mark))
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROWS_AT_A_TIME):
            count = min(ROWS_AT_A_TIME, rows - start)
            vectors = np.random.default_rng(start).standard_normal((count, dimensions), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            names = [f"/photos/2026/{start + number:09}.jpg" for number in range(count)]
            embedding = to_list_array(vectors, schema.field("embedding").type)
            writer.write_table(pa.table([["image"] * count, names, embedding], schema=schema))
    return path


def case(store: str, file: str, place: str) -> dict[str, Any]:
    """One store: seconds of the load and of the indexes, peak of memory, bytes on the disk."""
    into, server = STORES[store].format(place=place), None
    if into == "postgres":
        import pgserver

        server = pgserver.get_server(place, cleanup_mode="stop")
        into = server.get_uri()
    importlib.import_module(CLIENTS[store])
    with PeakMemory() as memory:
        load_s = _seconds(file, into, index=False)
    index_s = _seconds(file, into, index=True)
    disk = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
    if server is not None:
        disk = int(server.psql("COPY (SELECT pg_total_relation_size('data_jina_clip')) TO STDOUT").strip())
        server.cleanup()
    return {"load_s": load_s, "index_s": index_s, "peak": memory.peak - memory.start, "disk": disk}


def _seconds(file: str, into: str, *, index: bool) -> float:
    start = time.perf_counter()
    load_files([file], into=into, index=index)
    return time.perf_counter() - start


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        case=case,
        rows=Option(50_000, "vectors to load"),
        dimensions=Option(512, "width of the vectors"),
    )
