"""What a model does per second on this machine, measured within a given time. What to make of it is not decided here.

The clock is hard: nothing is begun that is expected to outlast the time that is left, and what leaves no room for a
second run counts by its first one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from ...backends.local.devices import DeviceChoice, is_out_of_memory
from ...backends.preprocess import MAX_DECODERS
from ...concurrency.processors import processors
from .model import BenchmarkModel
from .workloads import Workloads, preprocess_workload, text_lengths

Clock: TypeAlias = Callable[[], float]
Size: TypeAlias = 'int | Literal["auto"]'
What: TypeAlias = Literal["query", "texts", "images", "decoding"]

IMAGE_SIZES = {"cpu": (1, 2, 4, 8), "mps": (1, 2, 4, 8, 16, 32), "cuda": (1, 2, 4, 8, 16, 32, 64, 128)}
"""Images per pass that are tried on a kind of device, besides what `batch_size="auto"` takes there."""

TEXT_SIZES: tuple[Size, ...] = ("auto", 1, 8, 32)
"""Values of `batch_size` that are tried on texts, the likely one first."""

QUERY_TOKENS, PROBE_TOKENS = 12, 128
"""Tokens of a short query, and of the text from whose time all other times are estimated."""

MIN_TEXTS, MAX_TEXTS = 8, 4096
"""Texts of a sample: as many as the time allows, within these bounds."""

MAX_RUNS, MAX_ROUNDS = 20, 5
"""More repetitions of a pass, or photos per thread, would tell nothing new."""

MIN_GAIN, PATIENCE = 1.03, 2
"""So many larger batches that do not beat the best one by this factor end the search."""

DECODING_SHARE, QUERY_SHARE, TEXT_SHARE = 0.1, 0.05, 0.35
"""Shares of the time for decoding, and of a precision's time for queries and texts, where images are wanted too."""

OUT_OF_MEMORY, NO_TIME = "out of memory", "no time"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement."""

    what: What
    """`query` (one short text at a time), `texts`, `images`, or `decoding` (12-megapixel JPEGs to model size)."""
    dtype: str | None = None
    """Precision; None for decoding."""
    size: Size
    """Images per pass, most texts per pass (`auto`: by tokens), or threads that decode."""
    auto: bool = False
    """Whether this is what `batch_size="auto"` comes to."""
    per_second: float | None = None
    """Items per second; None where it could not be measured."""
    tokens_per_second: float | None = None
    """For texts."""
    runs: int = 0
    """Repetitions whose median counts."""
    memory_bytes: int | None = None
    """Most memory taken so far, on the GPU or by this process; None where it cannot be asked for."""
    why_not: str | None = None
    """Why there is no figure: `out of memory` or `no time`."""


@dataclass(frozen=True)
class Budget:
    """Seconds that may be spent, by a clock."""

    clock: Clock
    end: float

    @classmethod
    def of(cls, seconds: float, clock: Clock) -> Budget:
        """A budget that begins now."""
        return cls(clock, clock() + seconds)

    def left(self) -> float:
        """Seconds that are left; negative once it is overdrawn."""
        return self.end - self.clock()

    def share(self, part: float) -> Budget:
        """A budget of this part of what is left."""
        return Budget.of(max(0.0, self.left()) * part, self.clock)

    def seconds(self, work: Callable[[], object]) -> float:
        """How long one call of `work` takes."""
        start = self.clock()
        work()
        return self.clock() - start

    def sample(self, work: Callable[[], object], *, within_s: float) -> tuple[float, int]:
        """Median seconds of `work`, and of how many runs: as many as fit into `within_s` after one to warm up.

        If the first one leaves no room for another, it is the figure.
        """
        start = self.clock()
        first = longest = self.seconds(work)
        times: list[float] = []
        while len(times) < MAX_RUNS and self.clock() - start + longest <= within_s:
            times.append(self.seconds(work))
            longest = max(times)
        return statistics.median(times or [first]), max(1, len(times))


def measure(
    model: BenchmarkModel,
    choices: Sequence[DeviceChoice],
    *,
    seconds: float,
    texts: bool = True,
    images: bool = True,
    threads: int | None = None,
    clock: Clock = time.perf_counter,
) -> Iterator[Figure]:
    """Measure `model` on the device and in the precision of each choice, yielding figures as they are known.

    Args:
        model: What to measure.
        choices: Device and precision; each gets an equal part of the time.
        seconds: How long all of it may take, making or reading the models included.
        texts: Whether to measure texts.
        images: Whether to measure images, and how fast photos are decoded.
        threads: Most threads to decode with; None = the processors there.
        clock: Seconds, from any beginning.

    Raises:
        CheckpointError: damaged weights.
    """
    budget = Budget.of(seconds, clock)
    if images:
        yield from measure_decoding(preprocess_workload(model), budget.share(DECODING_SHARE), max_threads=threads)
    first_s = 0.0  # from the start of a precision to its first figure, mostly for reading the weights
    for finished, choice in enumerate(choices):
        share = budget.share(1 / (len(choices) - finished))
        # Loading took that long the last time; what is left would buy the loading and no figure.
        if share.left() <= 2 * first_s:
            yield Figure(what="query", dtype=choice.dtype, size=1, why_not=NO_TIME)
            continue
        first_s, start = 0.0, clock()
        for figure in measure_precision(model, choice, share, texts=texts, images=images):
            first_s = first_s or clock() - start
            yield figure


def measure_precision(
    model: BenchmarkModel, choice: DeviceChoice, budget: Budget, *, texts: bool = True, images: bool = True
) -> Iterator[Figure]:
    """One precision: queries, then texts, then images, as far as wanted."""
    try:
        workloads = Workloads(model, choice)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        yield Figure(what="query", dtype=choice.dtype, size=1, why_not=OUT_OF_MEMORY)
        return
    with workloads:
        query = workloads.texts([QUERY_TOKENS], max_texts=1)
        query_s, runs = budget.sample(query, within_s=QUERY_SHARE * budget.left())
        yield _make_figure(workloads, "query", 1, items=1, tokens=QUERY_TOKENS, seconds=query_s, runs=runs)
        token_s = query_s / QUERY_TOKENS
        # A short text is dominated by fixed costs; a longer one tells better what a token takes.
        if PROBE_TOKENS * token_s < budget.left():
            token_s = min(token_s, budget.seconds(workloads.texts([PROBE_TOKENS], max_texts=1)) / PROBE_TOKENS)
        if texts:
            share = budget.share(TEXT_SHARE if images else 1.0)
            yield from measure_texts(workloads, share, query_s=query_s, token_s=token_s)
        if images:
            yield from measure_images(workloads, budget, image_s=token_s * workloads.image_tokens)


def measure_texts(workloads: Workloads, budget: Budget, *, query_s: float, token_s: float) -> Iterator[Figure]:
    """Texts of all lengths, for several values of `batch_size`; one short query takes `query_s`, a token `token_s`."""
    text_s = token_s * sum(text_lengths(MAX_TEXTS)) / MAX_TEXTS
    for done, size in enumerate(TEXT_SIZES):
        # No batch is faster than a single short query, so small ones cost each text a share of that.
        each_s = text_s if size == "auto" else max(text_s, query_s / size)
        within_s = budget.left() / (len(TEXT_SIZES) - done)
        count = int(min(MAX_TEXTS, max(MIN_TEXTS, within_s / 2 / each_s)))
        if size != "auto" and size > count:
            continue  # the sample would be one batch, as with "auto"
        if count * each_s > budget.left():
            yield Figure(what="texts", dtype=workloads.dtype, size=size, why_not=NO_TIME)
            continue
        lengths = text_lengths(count)
        timed = _sample(budget, partial(workloads.texts, lengths, max_texts=size), within_s=within_s)
        if timed is None:
            yield Figure(what="texts", dtype=workloads.dtype, size=size, why_not=OUT_OF_MEMORY)
        else:
            took, runs = timed
            yield _make_figure(workloads, "texts", size, items=count, tokens=sum(lengths), seconds=took, runs=runs)


def measure_images(workloads: Workloads, budget: Budget, *, image_s: float) -> Iterator[Figure]:
    """Images in growing batches until memory, time or the gain ends. One is expected to take `image_s`."""
    sizes = sorted({*IMAGE_SIZES[workloads.kind], workloads.auto_images})
    best, idle = 0.0, 0  # images per second, and sizes since then that were no faster
    for done, size in enumerate(sizes):
        if idle >= PATIENCE and size != workloads.auto_images:
            continue
        if size * image_s > budget.left():
            yield Figure(what="images", dtype=workloads.dtype, size=size, why_not=NO_TIME)
            return
        # Time in proportion to the size, so that the large batches get enough runs too.
        within_s = budget.left() * size / sum(sizes[done:])
        timed = _sample(budget, partial(workloads.images, size), within_s=within_s)
        if timed is None:
            yield Figure(what="images", dtype=workloads.dtype, size=size, why_not=OUT_OF_MEMORY)
            return
        took, runs = timed
        yield _make_figure(workloads, "images", size, items=size, seconds=took, runs=runs)
        image_s = took / size
        best, idle = (1 / image_s, 0) if 1 / image_s > MIN_GAIN * best else (best, idle + 1)


def measure_decoding(
    prepare: Callable[[], object], budget: Budget, *, max_threads: int | None = None
) -> Iterator[Figure]:
    """How many photos a second `prepare` gets through with 1, 2, 4 … threads."""
    limit = max_threads or min(processors(), MAX_DECODERS)
    counts = sorted({limit, *(2**power for power in range(limit.bit_length()) if 2**power <= limit)})
    # The first run pays for imports and for memory, so the faster of two foretells the rest.
    photo_s = min(budget.seconds(prepare) for _ in range(2))
    for done, threads in enumerate(counts):
        within_s = budget.left() / (len(counts) - done)
        rounds = int(min(MAX_ROUNDS, max(1, within_s / photo_s / threads)))  # if more threads were no faster
        photos = rounds * threads
        if photos * photo_s > budget.left():
            yield Figure(what="decoding", size=threads, why_not=NO_TIME)
            return
        with ThreadPoolExecutor(threads) as pool:
            took = budget.seconds(partial(_run_all, pool, prepare, photos))
        yield Figure(what="decoding", size=threads, per_second=photos / took, runs=rounds)
        photo_s = took / photos


def _run_all(pool: ThreadPoolExecutor, work: Callable[[], object], times: int) -> None:
    for future in [pool.submit(work) for _ in range(times)]:
        future.result()


def _sample(budget: Budget, make: Callable[[], Callable[[], object]], *, within_s: float) -> tuple[float, int] | None:
    """`Budget.sample` of the work that `make` makes; None where memory is full."""
    try:
        return budget.sample(make(), within_s=within_s)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _make_figure(
    workloads: Workloads, what: What, size: Size, *, items: int, seconds: float, runs: int, tokens: int | None = None
) -> Figure:
    return Figure(
        what=what,
        dtype=workloads.dtype,
        size=size,
        auto=size == (workloads.auto_images if what == "images" else "auto"),
        per_second=items / seconds,
        tokens_per_second=None if tokens is None else tokens / seconds,
        runs=runs,
        memory_bytes=workloads.memory_bytes(),
    )
