"""Several devices in one process: rows in order whoever computes them, errors, closing, threads, forks, precision."""

from __future__ import annotations

import gc
import multiprocessing
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.backends.local import LocalBackend, devices
from jina_clip_integrations.backends.local import workers as module
from jina_clip_integrations.backends.local.devices import choose_devices, describe_device, is_out_of_memory
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.backends.local.workers import ForwardPass, Workers, load_engines
from jina_clip_integrations.errors import BackendError, ConfigurationError, ImageError
from jina_clip_integrations.settings import LocalSettings

GOLDEN = Path(__file__).parents[2] / "golden"

WAIT_S = 60
"""Longest wait for something that must happen; reaching it is a failure."""


class Painted:
    """An image whose pixels follow from its number."""

    url = None

    def __init__(self, number: int) -> None:
        self.label = f"image {number}"
        self._number = number

    def size(self) -> tuple[int, int]:
        return self.open().size

    def read(self) -> bytes:
        raise NotImplementedError

    def open(self) -> PIL.Image.Image:
        rng = np.random.default_rng(self._number)
        return PIL.Image.fromarray(rng.integers(0, 256, (*rng.integers(8, 40, 2), 3), dtype=np.uint8))


class Broken(Painted):
    def open(self) -> PIL.Image.Image:
        raise ImageError(f"{self.label} is broken")


def settings(**changes: Any) -> LocalSettings:
    return LocalSettings(device=["cpu", "cpu"], dtype="float32", **changes)


@pytest.fixture
def two(golden_folder: Path) -> Iterator[Workers]:
    workers = Workers(golden_folder, choose_devices(["cpu", "cpu"], "float32"), settings())
    yield workers
    workers.close()


def row(number: float, engine: Engine) -> np.ndarray:
    return np.full((1, engine.embed_dim), number, np.float32)


def together(workers: Workers, look: Callable[[Engine], Any], count: int) -> list[Any]:
    """What `look` sees in each of `count` workers: they meet, so that no worker does two pieces."""
    meeting, seen = threading.Barrier(count, timeout=WAIT_S), queue.SimpleQueue[Any]()

    def compute(engine: Engine) -> np.ndarray:
        meeting.wait()
        seen.put(look(engine))
        return row(0, engine)

    for _ in workers.run(ForwardPass([n], compute) for n in range(count)):
        pass
    return [seen.get() for _ in range(count)]


class AnyModel:
    """For tests to which it does not matter which model is computed: they run with one."""

    @pytest.fixture
    def golden_folder(self) -> Path:
        return GOLDEN / "v2"


class TestOrder:
    def test_a_worker_that_lags_behind_does_not_change_the_order(self, two: Workers) -> None:
        """The first piece is finished only when the other worker has done the four after it."""
        others = threading.Semaphore(0)
        finished: list[int] = []

        def compute(number: int, engine: Engine) -> np.ndarray:
            if number == 0:
                for _ in range(4):
                    assert others.acquire(timeout=WAIT_S)
            finished.append(number)
            others.release()
            return row(number, engine)

        def passes() -> Iterator[ForwardPass]:
            for number in range(20):
                yield ForwardPass([number], lambda engine, number=number: compute(number, engine))

        results = list(two.run(passes()))
        assert finished[:5] == [1, 2, 3, 4, 0]
        assert [list(result.positions or []) for result in results] == [[n] for n in range(20)]
        assert [float(result.vectors[0, 0]) for result in results] == list(range(20))

    @pytest.mark.parametrize("count", [2, 3])
    def test_uneven_texts(self, golden_folder: Path, count: int) -> None:
        rng = np.random.default_rng(count)
        texts = [f"{n} " + "wort " * int(length) for n, length in enumerate(rng.lognormal(2, 1.2, 200).clip(0, 300))]
        batch = Batch(modality="text", texts=texts)
        with LocalBackend(golden_folder, dtype="float32", device="cpu", batch_size=1) as one:
            expected = one.embed(batch).vectors
        for size in (7, "auto"):
            device = ["cpu"] * count
            with LocalBackend(golden_folder, dtype="float32", device=device, batch_size=size) as several:
                np.testing.assert_allclose(several.embed(batch).vectors, expected, atol=2e-4, rtol=0)

    def test_uneven_images_and_a_broken_one(self, golden_folder: Path) -> None:
        images = [Broken(n) if n == 17 else Painted(n) for n in range(40)]
        with LocalBackend(golden_folder, dtype="float32", device="cpu", batch_size=1) as one:
            expected = one.embed(Batch(modality="image", images=images, isolate_errors=True))
        with LocalBackend(golden_folder, dtype="float32", device=["cpu"] * 3, batch_size=3, num_workers=5) as several:
            result = several.embed(Batch(modality="image", images=images, isolate_errors=True))
            np.testing.assert_allclose(result.vectors, expected.vectors, atol=2e-4, rtol=0)
            assert list(result.errors) == [17]
            done: list[int] = []
            with pytest.raises(ImageError, match="image 17 is broken") as caught:
                done.extend(p for r in several.stream(Batch(modality="image", images=images)) for p in r.positions)
        assert caught.value.index == 17
        assert done == list(range(17))

    def test_threads_share_several_workers(self, golden_folder: Path) -> None:
        batches = [
            Batch(modality="text", texts=[f"{n} {'x ' * (n % 9)}{m}" for m in range(n % 7 + 1)]) for n in range(40)
        ]
        with LocalBackend(golden_folder, dtype="float32", device=["cpu"] * 3, batch_size=2) as backend:
            expected = [backend.embed(batch).vectors for batch in batches]
            with ThreadPoolExecutor(8) as pool:
                rows = [result.vectors for result in pool.map(backend.embed, batches)]
        for got, wanted in zip(rows, expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=2e-4, rtol=0)


class TestErrors(AnyModel):
    def test_what_fails_on_one_worker_is_raised_in_its_turn(self, two: Workers) -> None:
        def fail(engine: Engine) -> np.ndarray:
            raise ZeroDivisionError("here")

        def passes() -> Iterator[ForwardPass]:
            for n in range(50):
                yield ForwardPass([n], fail if n == 3 else lambda engine, n=n: row(n, engine))

        finished: list[BatchResult] = []
        with pytest.raises(ZeroDivisionError, match="here"):
            finished.extend(two.run(passes()))
        assert [float(result.vectors[0, 0]) for result in finished] == [0, 1, 2]
        again = list(two.run(ForwardPass([n], lambda engine, n=n: row(n, engine)) for n in range(9)))
        assert [float(result.vectors[0, 0]) for result in again] == list(range(9))

    def test_full_memory_says_what_to_change(self, two: Workers) -> None:
        def too_much(engine: Engine) -> np.ndarray:
            torch.empty(2**60, dtype=torch.uint8, device=engine.device)
            raise AssertionError("such a machine does not exist")

        with pytest.raises(BackendError, match="cpu has not enough memory for 3 inputs at a time; set a smaller batch"):
            list(two.run(iter([ForwardPass([0, 1, 2], too_much)])))

    @pytest.mark.parametrize(
        ("error", "full"),
        [
            (torch.OutOfMemoryError("CUDA out of memory."), True),
            (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
            (MemoryError(), True),
            (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        ],
    )
    def test_full_memory_is_told_from_other_errors(self, error: Exception, full: bool) -> None:
        assert is_out_of_memory(error) is full


class TestClosing(AnyModel):
    @pytest.mark.parametrize("modality", ["text", "image"])
    def test_closing_in_the_middle_is_an_error_for_the_one_who_computes(
        self, golden_folder: Path, modality: str
    ) -> None:
        backend = LocalBackend(golden_folder, dtype="float32", device=["cpu", "cpu"], batch_size=1)
        many: dict[str, Any] = {"texts": ["text"] * 500, "images": [Painted(n) for n in range(500)]}
        stream = backend.stream(Batch(modality=modality, **many))
        next(stream)
        closing = threading.Thread(target=backend.close)
        closing.start()
        closing.join(WAIT_S)
        assert not closing.is_alive()
        with pytest.raises(BackendError, match="closed while it was computing"):
            list(stream)
        assert backend.embed(Batch(modality="text", texts=["and on again"])).vectors.shape[0] == 1
        backend.close()

    def test_a_stream_that_is_left_frees_the_workers(self, golden_folder: Path) -> None:
        with LocalBackend(golden_folder, dtype="float32", device=["cpu", "cpu"], batch_size=1) as backend:
            stream = backend.stream(Batch(modality="image", images=[Painted(n) for n in range(300)]))
            next(stream)
            stream.close()
            assert len(backend.embed(Batch(modality="text", texts=["a"] * 9)).vectors) == 9

    def test_a_backend_that_is_dropped_frees_weights_and_threads(
        self, golden_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engines: list[weakref.ref[Engine]] = []

        def load(*arguments: Any) -> list[Engine]:
            loaded = load_engines(*arguments)
            engines.extend(map(weakref.ref, loaded))
            return loaded

        monkeypatch.setattr(module, "load_engines", load)
        backend = LocalBackend(golden_folder, dtype="float32", device=["cpu", "cpu"], batch_size=1)
        backend.embed(Batch(modality="text", texts=["a"] * 9))
        mine = [t for t in threading.enumerate() if t.name.startswith("jina-clip-device")]
        assert [engine() is not None for engine in engines] == [True, True]
        assert mine
        del backend
        gc.collect()
        deadline = time.monotonic() + WAIT_S
        while any(engine() is not None for engine in engines) and time.monotonic() < deadline:
            time.sleep(0.01)
            gc.collect()
        assert [engine() for engine in engines] == [None, None]


class TestThreads(AnyModel):
    @pytest.fixture(autouse=True)
    def _no_number_of_the_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)

    @pytest.fixture
    def seven(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """A machine of seven processors, as far as threads are counted."""
        before = torch.get_num_threads()
        monkeypatch.setattr(module, "processors", lambda: 7)
        torch.set_num_threads(7)
        yield
        torch.set_num_threads(before)

    @pytest.mark.parametrize(("count", "expected"), [(1, [7]), (2, [3, 4]), (3, [2, 2, 3])])
    @pytest.mark.usefixtures("seven")
    def test_workers_share_the_processors(self, golden_folder: Path, count: int, expected: list[int]) -> None:
        workers = Workers(golden_folder, choose_devices(["cpu"] * count, "float32"), settings())
        assert sorted(together(workers, lambda _: torch.get_num_threads(), count)) == expected
        assert torch.get_num_threads() == 7
        workers.close()

    @pytest.mark.usefixtures("seven")
    def test_a_quota_limits_a_single_worker_too(self, golden_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "processors", lambda: 2)
        workers = Workers(golden_folder, choose_devices("cpu", "float32"), settings())
        assert together(workers, lambda _: torch.get_num_threads(), 1) == [2]
        workers.close()

    @pytest.mark.usefixtures("seven")
    def test_what_the_user_set_in_torch_is_what_is_shared(self, golden_folder: Path) -> None:
        torch.set_num_threads(2)
        workers = Workers(golden_folder, choose_devices(["cpu"] * 2, "float32"), settings())
        assert together(workers, lambda _: torch.get_num_threads(), 2) == [1, 1]
        workers.close()

    @pytest.mark.usefixtures("seven")
    def test_the_users_environment_wins(self, golden_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
        torch.set_num_threads(5)  # what torch makes of the variable at its start
        workers = Workers(golden_folder, choose_devices(["cpu"] * 2, "float32"), settings())
        assert together(workers, lambda _: torch.get_num_threads(), 2) == [5, 5]
        workers.close()

    def test_only_cpu_workers_are_counted(self) -> None:
        cuda, cpu = torch.device("cuda"), torch.device("cpu")
        assert module.threads_of([cuda, cuda]) == [None, None]
        assert module.threads_of([cuda, cpu]) == [None, min(torch.get_num_threads(), module.processors())]


class TestWeights(AnyModel):
    def test_workers_on_one_device_share_the_weights(self, two: Workers) -> None:
        def look(engine: Engine) -> tuple[int, int]:
            return id(engine), id(engine.model)

        (first, weights), (second, same) = together(two, look, 2)
        assert first != second
        assert weights == same

    def test_another_device_gets_weights_of_its_own(self, golden_folder: Path) -> None:
        """`cpu:0` is the same processor under another name, and so the nearest to a second device that is here."""
        engines = module.load_engines(golden_folder, choose_devices(["cpu", "cpu:0", "cpu"], "float32"), settings())
        assert engines[0].model is engines[2].model is not engines[1].model


class TestForks(AnyModel):
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_fork_while_another_thread_holds_the_lock(
        self, golden_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other thread loads the weights, which takes until the child has answered."""
        batch = Batch(modality="image", images=[Painted(n) for n in range(5)])
        with LocalBackend(golden_folder, dtype="float32", device=["cpu", "cpu"], batch_size=1) as another:
            expected = another.embed(batch).vectors
        backend = LocalBackend(golden_folder, dtype="float32", device=["cpu", "cpu"], batch_size=1)
        held, done, parent = threading.Event(), threading.Event(), os.getpid()

        def load(*arguments: Any) -> Workers:
            if os.getpid() == parent:
                held.set()
                assert done.wait(WAIT_S)
            return Workers(*arguments)

        monkeypatch.setattr(module, "Workers", load)
        thread = threading.Thread(target=backend.load)
        thread.start()
        assert held.wait(WAIT_S)
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=lambda: sender.send(backend.embed(batch).vectors))
        child.start()
        answered = receiver.poll(WAIT_S)
        done.set()
        thread.join()
        if not answered:
            child.kill()
        assert answered, "the forked child waits for a thread that it does not have"
        np.testing.assert_allclose(receiver.recv(), expected, atol=2e-4)
        child.join(10)
        backend.close()


class TestOnePrecision:
    """Rows of one job must not depend on which device computed them."""

    @pytest.fixture
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """`machine(cpu=…, cuda=…, mps=…)`: which of them multiply bfloat16 natively; all are there."""

        def pretend(**native: bool) -> None:
            monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
            monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
            monkeypatch.setattr(devices, "cpu_has_native_bfloat16", lambda: native.get("cpu", True))
            monkeypatch.setattr(devices, "cuda_has_bfloat16", lambda: native.get("cuda", True))
            monkeypatch.setattr(devices, "mps_has_bfloat16", lambda: native.get("mps", True))

        return pretend

    @pytest.mark.parametrize(
        ("names", "native", "dtype", "why"),
        [
            (["cuda:0", "cpu"], {"cpu": True}, "bfloat16", "natively"),
            (["cuda:0", "cpu"], {"cpu": False}, "float32", "the processor has no native bfloat16"),
            (["cpu", "cuda:1"], {"cuda": False}, "float32", "this GPU has no bfloat16"),
            (["cuda:0", "cuda:1"], {"cpu": False}, "bfloat16", "GPUs multiply bfloat16 natively"),
            ("mps", {"mps": False}, "float32", "this macOS has no bfloat16"),
            ("mps", {"cpu": False}, "bfloat16", "GPUs multiply bfloat16 natively"),
        ],
    )
    def test_auto_takes_what_all_of_them_have(
        self, machine: Any, names: Any, native: dict[str, bool], dtype: str, why: str
    ) -> None:
        machine(**native)
        choices = choose_devices(names, "auto")
        assert {choice.dtype for choice in choices} == {dtype}
        assert all(why in choice.reason for choice in choices)
        assert describe_device(names)["dtype"] == dtype

    def test_float16_is_refused_if_one_of_them_is_a_cpu(self, machine: Any) -> None:
        machine()
        assert choose_devices(["cuda:0", "cuda:1"], "float16")[1].dtype == "float16"
        with pytest.raises(ConfigurationError, match=r"float16.*on a CPU"):
            choose_devices(["cuda:0", "cpu"], "float16")

    @pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has what the test needs absent")
    def test_a_gpu_that_takes_no_bfloat16_is_noticed_by_trying(self) -> None:
        devices.mps_has_bfloat16.cache_clear()
        assert devices.mps_has_bfloat16() is False
        devices.mps_has_bfloat16.cache_clear()

    @pytest.mark.parametrize("name", ["meta", "xpu", "hpu:3"])
    def test_a_device_that_cannot_compute_here_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match=rf"device='{name}': torch cannot compute there"):
            choose_devices(["cpu", name], "auto")

    @pytest.mark.parametrize("given", [None, 3.5, torch.float32])
    def test_something_that_is_no_device_is_refused(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="no device name"):
            choose_devices(given, "auto")

    def test_a_device_of_torch_is_fine(self) -> None:
        assert choose_devices(torch.device("cpu"), "float32") == choose_devices("cpu", "float32")
