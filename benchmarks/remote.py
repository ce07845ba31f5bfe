"""How fast vectors come from a remote service, beside the older Jina classes of LangChain and LlamaIndex.

    python benchmarks/remote.py [--texts 10000] [--images 1000] [--write]

Every contender runs in a process of its own against `loopback_service.py` in another: 100 ms of latency, at most 50
requests in flight, the hosted API's schema. Texts and images are made up from a seed, all different. The clock runs
from the first call to the last vector; imports and the making of the object are not counted. Afterwards every vector is
compared with the one that its content must have.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx  # noqa: F401  # imported within the first request otherwise
import numpy as np
from loopback_service import RowPool
from photos import write_photos
from reporting import Option, heading, in_own_process, run, table

KEY = "jina_" + "k" * 60
MODEL = "jina-clip-v2"
CHUNK = 512
"""Texts that the LangChain community class is handed at a time: it sends whatever it gets as one request."""

IMAGE_CHUNK = 10
"""The same for images, which it sends as they are: as many as the LlamaIndex class sends."""

VERIFIED_IMAGES = 50
"""Of ours, which are shrunk before they are sent, so many are shrunk again to know what was sent."""

PACKAGES = ("httpx", "numpy", "pillow", "requests", "langchain-community", "llama-index-embeddings-jinaai")
WORDS = ("red", "old", "quiet", "lighthouse", "bicycle", "harbour", "garden", "violin", "under", "beside", "evening")

Embed = Callable[[Any, Sequence[str]], Any]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to embed texts and images through the service."""

    label: str
    make: Callable[[str], Any]
    """The object, given the base URL. Imports what it needs."""
    texts: Embed
    """Rows for texts."""
    images: Embed
    """Rows for paths."""
    ours: bool = True
    repeats: int = 3


def _encoder(url: str) -> Any:
    from jina_clip_integrations import JinaClipEncoder

    return JinaClipEncoder(MODEL, api_key=KEY, base_url=url)


def _langchain(url: str) -> Any:
    from jina_clip_integrations.langchain import JinaClipEmbeddings

    return JinaClipEmbeddings(model=MODEL, api_key=KEY, base_url=url)


def _llama_index(url: str) -> Any:
    from jina_clip_integrations.llama_index import JinaClipEmbedding

    return JinaClipEmbedding(model_name=MODEL, api_key=KEY, base_url=url)


def _langchain_community(url: str) -> Any:
    with warnings.catch_warnings(action="ignore"):  # it says that it is being retired
        from langchain_community.embeddings import jina

    jina.JINA_API_URL = f"{url}/embeddings"  # its only place for an address
    return jina.JinaEmbeddings(jina_api_key=KEY, model_name=MODEL)


def _llama_index_jinaai(url: str) -> Any:
    from llama_index.embeddings.jinaai import JinaEmbedding

    embedding = JinaEmbedding(model=MODEL, api_key=KEY)
    embedding._api.api_url = f"{url}/embeddings"  # its constructor takes no address
    return embedding


def _in_chunks(embed: Callable[[list[str]], list[Any]], values: Sequence[str], size: int) -> list[Any]:
    return [row for start in range(0, len(values), size) for row in embed(list(values[start : start + size]))]


CONTENDERS = {
    "encoder": Contender(
        label="`JinaClipEncoder`",
        make=_encoder,
        texts=lambda it, texts: it.encode_text(texts),
        images=lambda it, paths: it.encode_image(paths),
    ),
    "encoder-async": Contender(
        label="`JinaClipEncoder`, awaited",
        make=_encoder,
        texts=lambda it, texts: asyncio.run(it.aencode_text(texts)),
        images=lambda it, paths: asyncio.run(it.aencode_image(paths)),
    ),
    "langchain": Contender(
        label="`JinaClipEmbeddings` (LangChain)",
        make=_langchain,
        texts=lambda it, texts: it.embed_documents(texts),
        images=lambda it, paths: it.embed_images(paths),
    ),
    "llama-index": Contender(
        label="`JinaClipEmbedding` (LlamaIndex)",
        make=_llama_index,
        texts=lambda it, texts: it.get_text_embedding_batch(texts),
        images=lambda it, paths: it.get_image_embedding_batch(paths),
    ),
    "langchain-community": Contender(
        label=f"LangChain community `JinaEmbeddings`, chunks of {CHUNK} ({IMAGE_CHUNK} images)",
        make=_langchain_community,
        texts=lambda it, texts: _in_chunks(it.embed_documents, texts, CHUNK),
        images=lambda it, paths: _in_chunks(it.embed_images, paths, IMAGE_CHUNK),
        ours=False,
    ),
    "llama-index-jinaai": Contender(
        label="LlamaIndex `JinaEmbedding`, defaults (10 at a time)",
        make=_llama_index_jinaai,
        texts=lambda it, texts: it.get_text_embedding_batch(texts),
        images=lambda it, paths: it.get_image_embedding_batch(paths),
        ours=False,
        repeats=1,
    ),
}


RIVALS = {"langchain-community": "LangChain's", "llama-index-jinaai": "LlamaIndex's"}
"""Those that the others are compared with, and what the column is called."""


def short_texts(count: int) -> list[str]:
    """Different texts of six to twelve words."""
    chance = np.random.default_rng(1)
    lengths = chance.integers(5, 12, count)
    return [f"{' '.join(chance.choice(WORDS, length))} {number}" for number, length in enumerate(lengths)]


# In the contender's process


def compete(name: str, kind: str, url: str, file: str) -> dict[str, Any]:
    """Embed what `file` lists: seconds, processor seconds of this process, and whether every row is in place."""
    contender, inputs = CONTENDERS[name], json.loads(Path(file).read_text("utf-8"))
    embedder = contender.make(f"{url}/v1")
    embed = contender.texts if kind == "texts" else contender.images
    began, busy = time.perf_counter(), time.process_time()
    rows = embed(embedder, inputs)
    cpu_s, wall_s = time.process_time() - busy, time.perf_counter() - began
    verified = _is_in_order(np.asarray(rows, np.float32), inputs, kind=kind, ours=contender.ours)
    return {"wall_s": wall_s, "cpu_s": cpu_s, "in_order": verified}


def _is_in_order(rows: Any, inputs: list[str], *, kind: str, ours: bool) -> bool:
    pool = RowPool()
    places: Sequence[int] = range(len(inputs))
    if kind == "images" and ours:
        places = np.random.default_rng(0).permutation(len(inputs))[:VERIFIED_IMAGES].tolist()
    content = str if kind == "texts" else _shrunk if ours else _as_it_is
    expected = np.stack([pool.vector(content(inputs[place])) for place in places])
    return len(rows) == len(inputs) and bool(np.array_equal(rows[list(places)], expected))


def _as_it_is(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


def _shrunk(path: str) -> str:
    from PIL import Image

    from jina_clip_integrations.backends.remote.prepare import as_png, shrink

    with Image.open(path) as image:
        return base64.b64encode(as_png(shrink(image.convert("RGB"), 512, True))).decode()


# In the process that compares


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One run of one contender, as it and the service saw it."""

    items: int
    wall_s: float
    cpu_s: float
    in_order: bool
    counts: dict[str, Any]

    @property
    def per_s(self) -> float:
        return self.items / self.wall_s

    @property
    def cpu_us(self) -> float:
        """Processor microseconds per vector."""
        return 1e6 * self.cpu_s / self.items


@contextmanager
def service() -> Iterator[str]:
    """`loopback_service.py` in a process of its own; yields its address."""
    command = [sys.executable, str(Path(__file__).with_name("loopback_service.py"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=30)


def measure(name: str, kind: str, url: str, inputs: Path) -> Figures:
    """The median run, by time, of a contender."""
    runs = []
    for _ in range(CONTENDERS[name].repeats if kind == "texts" else 1):
        _counts(url)
        result = in_own_process(__file__, name, kind, url, str(inputs))
        counts = _counts(url)
        runs.append(Figures(items=counts["items"], counts=counts, **result))
    return sorted(runs, key=lambda run: run.wall_s)[len(runs) // 2]


def _counts(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/counts", timeout=30) as answer:
        counts: dict[str, Any] = json.load(answer)
        return counts


def figures_table(kind: str, figures: dict[str, Figures]) -> str:
    """One row per contender."""
    one = kind.removesuffix("s")
    columns = ["contender", f">{kind}/s", *(f">times {RIVALS[name]}" for name in RIVALS if name in figures)]
    columns += [">client CPU per vector", ">requests", ">refused", ">most in flight"]
    columns += [f">bytes sent per {one}", f">bytes received per {one}", ">tokens billed", "order"]
    return table(columns, [_row(name, run, figures) for name, run in figures.items()])


def _row(name: str, run: Figures, figures: dict[str, Figures]) -> list[object]:
    counts = run.counts
    return [
        CONTENDERS[name].label,
        f"{run.per_s:,.0f}" if run.per_s >= 10 else f"{run.per_s:.1f}",
        *(f"{run.per_s / figures[rival].per_s:.1f}" for rival in RIVALS if rival in figures),
        f"{run.cpu_us:,.0f} µs",
        f"{counts['requests']:,}",
        counts["refused"],
        counts["most_in_flight"],
        f"{counts['bytes_received'] / run.items:,.0f}",
        f"{counts['bytes_sent'] / run.items:,.0f}",
        f"{counts['tokens']:,}",
        "kept" if run.in_order else "WRONG",
    ]


def report(*, texts: int, images: int, only: str | None) -> str:
    """The whole report."""
    names = only.split(",") if only else list(CONTENDERS)
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    parts = [heading("Vectors from a remote service", __file__), f"Also {versions}.\n", __doc__.split("\n\n", 2)[2]]
    with service() as url, tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        works = {"texts": short_texts(texts), "images": [str(path) for path in write_photos(folder, images)]}
        for kind, values in works.items():
            if values:
                inputs = folder / f"{kind}.json"
                inputs.write_text(json.dumps(values), encoding="utf-8")
                found = {name: measure(name, kind, url, inputs) for name in names}
                parts += [f"## {len(values):,} {kind}\n", figures_table(kind, found)]
    return "\n".join(parts)


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        case=compete,
        texts=Option(10_000, "short texts to embed"),
        images=Option(1_000, "images to embed"),
        only=Option(None, f"contenders, with commas: {', '.join(CONTENDERS)}"),
    )
