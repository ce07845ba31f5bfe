"""The threads of a local backend: one per device that computes, a few that decode images."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch

from ...concurrency.processors import processors, threads_are_given
from ...errors import BackendError, JinaClipError
from ...settings import LocalSettings
from ..base import BatchResult, ImageSource, Usage
from ..preprocess import PreprocessedImage, decoding_pool, preprocess_ahead, result_of, start
from ..running import ForwardPass
from .devices import DeviceChoice, is_out_of_memory
from .engine import Engine
from .preprocess import load_preprocessor
from .processors import compute_with, shares

T = TypeVar("T")
Claims: TypeAlias = "queue.SimpleQueue[tuple[Engine, int | None]]"
"""Engines that wait for a thread, each with the number of threads that it computes with."""

KINDS = ("cpu", "mps", "cuda")
"""Kinds of device, ordered by how much they take at a time; any other kind is treated as the middle one."""

BATCHES_AHEAD = 2
"""Forward passes that wait for each device, so that it never idles and memory stays bounded."""


class Workers:
    """Loaded engines and their threads. Thread-safe: several callers may compute at the same time."""

    def __init__(self, folder: Path, choices: list[DeviceChoice], settings: LocalSettings) -> None:
        """`settings.image_size` is None unless it differs from the model's own."""
        self.preprocessor = load_preprocessor(
            folder, max_length=settings.max_length, fast_decode=settings.fast_decode, image_size=settings.image_size
        )
        engines = load_engines(folder, choices, settings)
        # Any device may get any forward pass, so all are of a size that the smallest device takes.
        self.kind = min((kind_of(engine.device) for engine in engines), key=KINDS.index)
        self.patches = engines[0].patches
        self.pads = any(engine.pads for engine in engines)
        self._ahead = BATCHES_AHEAD * len(engines)
        self._any_engine = engines[0]
        self._own = threading.local()
        # `adopt` is no method: a running thread that refers to this object would keep it from ever being collected,
        # and with it the executors, whose collection ends the threads.
        self._computing = ThreadPoolExecutor(
            len(engines), "jina-clip-device", initializer=adopt, initargs=(self._own, claims(engines))
        )
        self._decoding = decoding_pool(settings.num_workers)

    def run(self, passes: Iterator[ForwardPass]) -> Generator[BatchResult, None, None]:
        """Compute every forward pass and yield its rows, in the order of `passes`.

        When `passes` itself fails, what was already submitted is still computed and yielded before the error is raised.
        """
        pending: deque[Future[BatchResult]] = deque()
        failure: JinaClipError | None = None
        try:
            while failure is None:
                try:
                    forward_pass = next(passes, None)
                except JinaClipError as error:  # of an input; rows computed before it are still the caller's
                    failure = error
                    break
                if forward_pass is None:
                    break
                pending.append(start(self._computing, self._compute, forward_pass))
                while len(pending) > self._ahead:
                    yield result_of(pending.popleft())
            while pending:
                yield result_of(pending.popleft())
        finally:
            for future in pending:
                future.cancel()
        if failure is not None:
            raise failure

    def _compute(self, forward_pass: ForwardPass) -> BatchResult:
        engine: Engine = getattr(self._own, "engine", self._any_engine)  # in an exit handler, whose thread has none
        try:
            vectors = engine.no_rows() if forward_pass.compute is None else forward_pass.compute(engine)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BackendError(
                f"{engine.device} has not enough memory for {len(forward_pass.positions)} inputs at a time; "
                "set a smaller batch_size, or a smaller max_length for texts"
            ) from error
        requests = int(forward_pass.compute is not None)
        usage = Usage(total_tokens=forward_pass.tokens, requests=requests, items=len(forward_pass.positions))
        return BatchResult(vectors, positions=forward_pass.positions, errors=forward_pass.errors, usage=usage)

    def preprocess_images(
        self, images: Sequence[ImageSource], *, ahead: int
    ) -> Generator[PreprocessedImage, None, None]:
        """Images decoded and resized in threads, in order, at most `ahead` of them waiting."""
        return preprocess_ahead(self._decoding, self.preprocessor, images, ahead=ahead)

    def close(self) -> None:
        """End the threads after what they are computing; what only waits is cancelled."""
        self._decoding.shutdown(cancel_futures=True)
        self._computing.shutdown(cancel_futures=True)


def load_engines(folder: Path, choices: list[DeviceChoice], settings: LocalSettings) -> list[Engine]:
    """An engine for each choice. Those on one device share its weights, which are read once."""
    engines: list[Engine] = []
    on_device: dict[str, Engine] = {}
    for choice in choices:
        first = on_device.get(choice.device)
        if first is None:
            first = on_device[choice.device] = Engine(
                folder,
                choice,
                attn_implementation=settings.attn_implementation,
                compile=settings.compile,
                image_size=settings.image_size,
            )
            engines.append(first)
        else:
            engines.append(first.replica())
    return engines


def kind_of(device: torch.device) -> str:
    """The kind of device by which batches are sized."""
    return device.type if device.type in KINDS else KINDS[1]


def threads_of(devices: Sequence[torch.device]) -> list[int | None]:
    """Threads that each worker computes with: its share of the processors on a CPU, None where torch decides.

    Torch decides for a GPU's worker, and wherever the user has set a number of threads in the environment. What the
    calling thread has set with `torch.set_num_threads` is what there is to share.
    """
    on_cpu = [device.type == "cpu" for device in devices]
    if threads_are_given() or not any(on_cpu):
        return [None] * len(devices)
    each = iter(shares(min(torch.get_num_threads(), processors()), sum(on_cpu)))
    return [next(each) if here else None for here in on_cpu]


def claims(engines: Sequence[Engine]) -> Claims:
    """Engines that no thread has yet, each with the threads it computes with."""
    unclaimed: Claims = queue.SimpleQueue()
    for claim in zip(engines, threads_of([engine.device for engine in engines]), strict=True):
        unclaimed.put(claim)
    return unclaimed


def adopt(own: threading.local, unclaimed: Claims) -> None:
    """Start a computing thread: it takes an engine for good, as `own.engine`, and its share of the processors."""
    own.engine, threads = unclaimed.get_nowait()
    if threads is not None:
        compute_with(threads)
