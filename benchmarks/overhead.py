"""What the encoder costs on top of the model: a job of 1,000 texts, and texts that are in a cache.

    python benchmarks/overhead.py [--against FOLDER] [--write]

The model alone is the tokenizer and the very batches of the job, handed to the engine one after the other; the job is
`encode_text`. Both run in turns in one process, and the difference is the encoder's: checking, fingerprints, sorting,
batching, threads, conversion, cutting, unit length, the caller's order. Because a model of full size takes minutes for
a job that the encoder adds milliseconds to, the difference is also measured with an engine that answers at once with
rows of full width, and set against the time that random weights of full size take per token. `--against` measures
another checkout in turns with this one.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import Option, heading, in_own_process, run, table
from timing import best_of, in_turns

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.backends.local import LocalBackend, workers
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.backends.local.preprocess import load_preprocessor
from jina_clip_integrations.cache import DiskCache, MemoryCache
from jina_clip_integrations.demo import demo_model_path, gallery

JOB = 1000
HITS = 20_000
WIDTH, DIMENSIONS = 1024, 512
MIXES = {"captions": (2.0, 0.4), "mixed lengths": (2.7, 1.0)}
"""Mean and spread of the logarithm of the number of words."""
SAMPLE = 48
"""Texts of a job that the model of full size computes, spread evenly over the lengths."""
ROUNDS = 3
"""Processes of each version with `--against`."""


def job_of(mix: str, count: int = JOB) -> list[str]:
    """Different texts in many languages, the same ones every time."""
    chance = np.random.default_rng(0)
    words = np.array([word for image in gallery() for name in image.names.values() for word in name.split()])
    counts = np.clip(chance.lognormal(*MIXES[mix], count), 1, 400).astype(int)
    return [" ".join(chance.choice(words, size)) + f" {number}" for number, size in enumerate(counts)]


class InstantEngine:
    """Answers at once, with rows of the full width."""

    device, dtype, embed_dim, patches, pads = torch.device("cpu"), torch.float32, WIDTH, 1297, False

    def __init__(self, *_settings: Any, **_more: Any) -> None:
        self._rows = np.random.default_rng(0).standard_normal((JOB, WIDTH)).astype(np.float32)

    def embed_ids(self, rows: list[list[int]]) -> Any:
        """Rows of the right number."""
        return self._rows[: len(rows)]


@contextmanager
def watched(engine: type[Any]) -> Iterator[list[list[list[int]]]]:
    """The batches of token ids that engines of this class compute meanwhile."""
    embed_ids, batches = engine.embed_ids, []

    def watch(self: Any, rows: list[list[int]]) -> Any:
        batches.append(rows)
        return embed_ids(self, rows)

    engine.embed_ids = watch
    try:
        yield batches
    finally:
        engine.embed_ids = embed_ids


def model_and_job(folder: str, engine: Any, mix: str, *, rounds: int) -> dict[str, float]:
    """Median seconds of the model alone and of the whole job, and the job's tokens."""
    texts = job_of(mix)
    preparation = load_preprocessor(Path(folder), max_length=8192)
    encoder = JinaClipEncoder(backend=LocalBackend(folder, device="cpu"), dimensions=_cut(folder))
    with watched(type(engine)) as batches:
        encoder.encode_text(texts)

    def model() -> None:
        preparation.tokenize(texts)
        for rows in list(batches):
            engine.embed_ids(rows)

    times = in_turns({"model": model, "job": lambda: encoder.encode_text(texts)}, rounds=rounds)
    return times | {"tokens": sum(len(row) for rows in batches for row in rows)}


def _cut(folder: str) -> int | None:
    return None if Path(folder) == demo_model_path() else DIMENSIONS


# Cases, each in a process of its own


def demo() -> dict[str, Any]:
    """The demo model, small enough for the encoder to show."""
    from jina_clip_integrations.backends.local.devices import choose_devices

    folder = demo_model_path()
    engine = Engine(folder, choose_devices("cpu", "auto")[0], attn_implementation="sdpa", compile=False)
    return {mix: model_and_job(str(folder), engine, mix, rounds=7) for mix in MIXES}


def instant(folder: str) -> dict[str, Any]:
    """An engine that takes no time."""
    workers.Engine = InstantEngine  # type: ignore[misc, assignment]
    return {mix: model_and_job(folder, InstantEngine(), mix, rounds=25) for mix in MIXES}


def full_size(folder: str) -> dict[str, Any]:
    """Seconds per token of random weights of full size, over a sample of each job."""
    from jina_clip_integrations.backends.local.devices import choose_devices

    choice = choose_devices("cpu", "auto")[0]
    engine = Engine(Path(folder), choice, attn_implementation="sdpa", compile=False)
    preparation = load_preprocessor(Path(folder), max_length=8192)
    figures: dict[str, Any] = {"type": choice.dtype}
    for mix in MIXES:
        ids = sorted(preparation.tokenize(job_of(mix)).ids, key=len)[:: JOB // SAMPLE]
        batches = [ids[start : start + 8] for start in range(0, len(ids), 8)]
        engine.embed_ids(batches[0])
        began = time.perf_counter()
        for rows in batches:
            engine.embed_ids(rows)
        figures[mix] = (time.perf_counter() - began) / sum(map(len, ids))
    return figures


class FixedBackend:
    """The same rows for any texts."""

    model, dimensions, batch_size = "jina-clip-v2", WIDTH, HITS
    _rows = np.random.default_rng(0).standard_normal((HITS, WIDTH), dtype=np.float32)

    def embed(self, batch: Batch) -> BatchResult:
        """As many rows as there are texts."""
        return BatchResult(self._rows[: len(batch)])


def hits() -> dict[str, float]:
    """Texts a second of `encode_text` where all of them are in a cache, and where there is none."""
    texts = job_of("captions", HITS)
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, cache in (("MemoryCache", MemoryCache(HITS)), ("DiskCache", DiskCache(folder)), ("none", None)):
            encoder = JinaClipEncoder(backend=FixedBackend(), cache=cache, dimensions=DIMENSIONS)
            rates[name] = HITS / best_of(lambda encoder=encoder: encoder.encode_text(texts), runs=7)
    return rates


def profile(folder: str) -> dict[str, list[tuple[str, float]]]:
    """Shares of the processor time by module, of the job with an instant engine and of hits on disk."""
    workers.Engine = InstantEngine  # type: ignore[misc, assignment]
    texts = job_of("captions", HITS)
    local = JinaClipEncoder(backend=LocalBackend(folder, device="cpu"), dimensions=DIMENSIONS)
    with tempfile.TemporaryDirectory() as cache:
        cached = JinaClipEncoder(backend=FixedBackend(), cache=cache, dimensions=DIMENSIONS)
        cached.encode_text(texts)
        return {
            "no cache, instant engine": shares(lambda: local.encode_text(texts)),
            "all from DiskCache": shares(lambda: cached.encode_text(texts)),
        }


def shares(work: Callable[[], object]) -> list[tuple[str, float]]:
    """Modules of the package by their share of the time, what they call outside of it included; largest first."""
    work()
    profiler = cProfile.Profile()
    profiler.runcall(work)
    spent: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if "jina_clip_integrations" in file:
            spent[_module(file)] = spent.get(_module(file), 0.0) + own
        else:  # a library's function: on account of the modules that called it
            for (caller, _, _), times in callers.items():
                module = _module(caller) if "jina_clip_integrations" in caller else name
                spent[module] = spent.get(module, 0.0) + times[2]
    total = sum(spent.values())
    return sorted(((module, time / total) for module, time in spent.items()), key=lambda pair: -pair[1])[:8]


def _module(file: str) -> str:
    return Path(file).as_posix().rpartition("jina_clip_integrations/")[2]


CASES = {case.__name__: case for case in (demo, instant, full_size, hits, profile)}


def measure(name: str, *values: str) -> Any:
    """One case."""
    return CASES[name](*values)


# The report


def report(against: str | None) -> str:
    """All tables."""
    from random_checkpoint import add_processor, write_random_checkpoint

    with tempfile.TemporaryDirectory() as root:
        folder = str(Path(root, "v2"))
        add_processor(Path(folder), "v2")
        versions = {"here": None} | ({"before": against} if against else {})
        small, light = repeated(versions, "demo"), repeated(versions, "instant", folder)
        cached, shown = repeated(versions, "hits"), in_own_process(__file__, "profile", folder)
        write_random_checkpoint(Path(folder), "v2")
        heavy = in_own_process(__file__, "full_size", folder)
    parts = [heading(f"The encoder's cost: {JOB:,} texts", __file__), NOTES]
    parts += [jobs(small, light, heavy), cached_texts(cached), profiles(shown)]
    return "\n".join(parts)


NOTES = """
*Model* is the tokenizer and the job's own batches on the engine, *job* is `encode_text`; medians of rounds in turns.
The instant engine gives rows of full width at once. Its difference is what a model of full size gets on top of its own
time, which is extrapolated from a sample of the job.
"""


def repeated(versions: dict[str, str | None], *values: str) -> dict[str, list[Any]]:
    """Figures of each version, its processes in turns where there are several."""
    rounds = ROUNDS if len(versions) > 1 else 1
    taken: dict[str, list[Any]] = {version: [] for version in versions}
    for _ in range(rounds):
        for version, package in versions.items():
            taken[version].append(in_own_process(__file__, *values, package=package))
    return taken


def jobs(small: dict[str, list[Any]], light: dict[str, list[Any]], heavy: dict[str, Any]) -> str:
    """Model, job and what is between them."""
    rows = []
    for version in small:
        for mix in MIXES:
            for name, taken in (("demo", small), ("instant", light)):
                model, job = (statistics.median(run[mix][key] for run in taken[version]) for key in ("model", "job"))
                tokens = f"{taken[version][0][mix]['tokens']:,}"
                added, share = f"{(job - model) * 1000:.1f} ms", f"{(job - model) / model:.1%}"
                rows.append((version, name, mix, tokens, *(f"{s * 1000:,.0f} ms" for s in (model, job)), added, share))
            full_s = heavy[mix] * light[version][0][mix]["tokens"]
            name, whole = f"v2, full size, {heavy['type']}", f"{full_s:,.0f} s (extrapolated)"
            rows.append((version, name, mix, tokens, whole, "", added, f"{(job - model) / full_s:.4%}"))
    return table(("version", "model", "texts", ">tokens", ">model", ">job", ">difference", ">of the model"), rows)


def cached_texts(cached: dict[str, list[Any]]) -> str:
    """Texts a second with each cache."""
    names = list(next(iter(cached.values()))[0])
    rates = {version: {name: max(run[name] for run in runs) for name in names} for version, runs in cached.items()}
    rows = [(name, *(f"{rates[version][name]:,.0f}" for version in rates)) for name in names]
    if "before" in rates:
        rows = [(*row, f"{rates['here'][row[0]] / rates['before'][row[0]]:.2f}") for row in rows]
    columns = ("cache", *(f">texts / s, {version}" for version in rates), *([">ratio"] if "before" in rates else []))
    note = f"`encode_text` of {HITS:,} texts, all of them cached (`none`: a backend that has its rows ready),\n"
    return f"{note}full width kept, {DIMENSIONS} dimensions given, best of 7.\n\n{table(columns, rows)}"


def profiles(shown: dict[str, list[tuple[str, float]]]) -> str:
    """Where the time goes."""
    rows = [(case, f"`{module}`", f"{share:.0%}") for case, spent in shown.items() for module, share in spent]
    note = f"Where the time of {HITS:,} texts goes, library calls counted with the module that makes them.\n"
    note += "The profiler slows down what consists of many small calls.\n"
    return f"{note}\n{table(('job', 'module', '>share'), rows)}"


if __name__ == "__main__":
    run(report, doc=__doc__, case=measure, against=Option(None, "another checkout to measure in turns with this one"))
