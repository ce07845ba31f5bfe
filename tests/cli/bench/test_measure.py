"""What is measured, in which order, and that the time is kept, by a clock that moves with the work."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import PIL.Image
import pytest
import torch

from jina_clip_integrations.backends.local.devices import choose_devices
from jina_clip_integrations.cli.bench import measure as module
from jina_clip_integrations.cli.bench.measure import Budget, Figure, measure, measure_decoding
from jina_clip_integrations.cli.bench.model import BenchmarkModel, find_benchmark_model, random_model
from jina_clip_integrations.cli.bench.workloads import Workloads, make_photo, text_lengths
from jina_clip_integrations.errors import CheckpointError, ConfigurationError
from jina_clip_integrations.modeling import JinaClipConfig

CPU = choose_devices("cpu", "float32")[0]
BOTH = [CPU, choose_devices("cpu", "bfloat16")[0]]


@dataclass
class Clock:
    """Seconds that pass only when something says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Machine:
    """How long things take on a made-up machine; the passes themselves are not computed."""

    clock: Clock
    start_s: float = 0.0
    token_s: float = 0.0
    image_s: Callable[[int], float] = lambda count: 0.1
    """Seconds of an image, by the images in a pass."""
    fits: int = 10**9
    """Most images that memory holds in a pass."""
    in_hand: int = 0
    """Models in memory at this moment."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, load_engine: Any) -> Machine:
    """Passes that take the made-up machine's time."""
    made = Machine(Clock())

    def take(seconds: float) -> None:
        made.clock.now += seconds

    class Timed(Workloads):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.clock.now += made.start_s
            made.in_hand += 1
            self.image_tokens = made.image_s(1) / made.token_s if made.token_s else 1.0

        def __exit__(self, *arguments: Any) -> None:
            made.in_hand -= 1
            super().__exit__(*arguments)

        def texts(self, lengths: Sequence[int], *, max_texts: Any) -> Callable[[], None]:
            super().texts(lengths, max_texts=max_texts)
            return lambda: take(sum(lengths) * made.token_s)

        def images(self, count: int) -> Callable[[], None]:
            if count > made.fits:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return lambda: take(count * made.image_s(count))

    monkeypatch.setattr(BenchmarkModel, "engine", load_engine)
    monkeypatch.setattr(module, "Workloads", Timed)
    monkeypatch.setattr(module, "preprocess_workload", lambda model: lambda: take(0.2))
    return made


@pytest.fixture(scope="module")
def model() -> BenchmarkModel:
    return find_benchmark_model("demo")


def sizes(figures: Sequence[Figure], what: str, *, why_not: str | None = None) -> list[Any]:
    return [figure.size for figure in figures if figure.what == what and figure.why_not == why_not]


class TestTime:
    @pytest.mark.parametrize("seconds", [3.0, 20.0, 90.0])
    @pytest.mark.parametrize("token_s", [1e-5, 0.001, 0.02])
    @pytest.mark.parametrize("dtypes", [1, 2])
    def test_it_is_kept_on_fast_and_slow_machines(
        self, machine: Machine, model: BenchmarkModel, seconds: float, token_s: float, dtypes: int
    ) -> None:
        machine.token_s, machine.start_s = token_s, 0.3
        machine.image_s = lambda count: 1297 * token_s / min(count, 8) ** 0.2
        figures = list(measure(model, BOTH[:dtypes], seconds=seconds, clock=machine.clock))
        assert machine.clock.now - 100 <= seconds
        assert all((figure.per_second is None) == (figure.why_not is not None) for figure in figures)
        assert any(figure.per_second for figure in figures)

    def test_a_machine_too_slow_for_an_image_says_so(self, machine: Machine, model: BenchmarkModel) -> None:
        machine.token_s, machine.image_s = 0.02, lambda count: 26.0
        figures = list(measure(model, [CPU], seconds=30, clock=machine.clock))
        assert sizes(figures, "images") == []
        assert sizes(figures, "images", why_not="no time") == [1]
        assert machine.clock.now - 100 <= 30

    def test_what_leaves_no_room_for_a_second_run_counts_by_its_first(
        self, machine: Machine, model: BenchmarkModel
    ) -> None:
        machine.token_s, machine.image_s = 0.01, lambda count: 13.0
        figures = list(measure(model, [CPU], seconds=30, texts=False, clock=machine.clock))
        (one,) = [figure for figure in figures if figure.what == "images" and figure.size == 1]
        assert one.per_second == pytest.approx(1 / 13)
        assert one.runs == 1

    def test_a_second_precision_that_could_not_even_start_is_left_out(
        self, machine: Machine, model: BenchmarkModel
    ) -> None:
        machine.start_s, machine.token_s = 8.0, 1e-4
        figures = list(measure(model, BOTH, seconds=20, clock=machine.clock))
        assert [f.why_not for f in figures if f.dtype == "bfloat16"] == ["no time"]
        assert machine.clock.now - 100 <= 20

    def test_one_model_is_in_memory_at_a_time(self, machine: Machine, model: BenchmarkModel) -> None:
        machine.token_s = 1e-3
        for _ in measure(model, BOTH, seconds=60, clock=machine.clock):
            assert machine.in_hand <= 1
        assert machine.in_hand == 0

    @pytest.mark.parametrize(
        ("durations", "within_s", "median", "runs"),
        [
            ([5.0], 5.0, 5.0, 1),
            ([5.0, 3.0], 9.9, 5.0, 1),
            ([5.0, 3.0], 10.0, 3.0, 1),
            ([5.0, 1.0, 2.5, 9.0], 10.0, 1.75, 2),
            ([1.0] * 30, 1000.0, 1.0, 20),
        ],
        ids=str,
    )
    def test_the_first_run_warms_up(self, durations: list[float], within_s: float, median: float, runs: int) -> None:
        clock, left = Clock(), iter(durations)

        def work() -> None:
            clock.now += next(left)

        assert Budget.of(100, clock).sample(work, within_s=within_s) == (median, runs)


class TestImages:
    def test_a_gpu_that_saturates_ends_the_search(
        self, machine: Machine, model: BenchmarkModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "IMAGE_SIZES", {"cpu": module.IMAGE_SIZES["cuda"]})
        machine.token_s, machine.image_s = 1e-5, lambda count: 0.01 / min(count, 8)
        figures = list(measure(model, [CPU], seconds=90, texts=False, clock=machine.clock))
        tried = sizes(figures, "images")
        assert tried[:6] == [1, 2, 4, 8, 16, 32]
        assert tried[6:] == [figure.size for figure in figures if figure.auto]  # and what auto takes, come what may
        speeds = {figure.size: figure.per_second for figure in figures if figure.what == "images"}
        assert speeds[8] == pytest.approx(800)
        assert speeds[1] == pytest.approx(100)

    def test_full_memory_ends_it_too(self, machine: Machine, model: BenchmarkModel) -> None:
        machine.token_s, machine.image_s, machine.fits = 1e-5, lambda count: 0.01, 3
        figures = list(measure(model, [CPU], seconds=90, texts=False, clock=machine.clock))
        assert sizes(figures, "images") == [1, 2]
        assert sizes(figures, "images", why_not="out of memory") == [4]

    def test_another_error_is_not_taken_for_full_memory(self, machine: Machine, model: BenchmarkModel) -> None:
        def image_s(count: int) -> float:
            if count > 1:
                raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
            return 0.01

        machine.token_s, machine.image_s = 1e-5, image_s
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            list(measure(model, [CPU], seconds=90, texts=False, clock=machine.clock))

    def test_a_model_that_does_not_fit_is_a_figure_too(
        self, model: BenchmarkModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setattr(BenchmarkModel, "engine", full)
        (figure,) = measure(model, [CPU], seconds=5, images=False)
        assert (figure.dtype, figure.per_second, figure.why_not) == ("float32", None, "out of memory")


class TestDecoding:
    @pytest.mark.parametrize(
        ("limit", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])], ids=str
    )
    def test_threads_double_up_to_the_limit(self, limit: int, expected: list[int]) -> None:
        clock = Clock()

        def prepare() -> None:
            clock.now += 0.1

        figures = list(measure_decoding(prepare, Budget.of(1000, clock), max_threads=limit))
        assert sizes(figures, "decoding") == expected
        assert all(figure.dtype is None for figure in figures)

    def test_it_stops_in_time(self) -> None:
        clock = Clock()

        def prepare() -> None:
            clock.now += 3.0

        figures = list(measure_decoding(prepare, Budget.of(8, clock), max_threads=8))
        assert sizes(figures, "decoding", why_not="no time") == [1]
        assert clock.now - 100 <= 8

    def test_the_photo_is_the_same_every_time_and_as_large_as_a_cameras(self) -> None:
        data = make_photo()
        assert data == make_photo()
        assert 3e6 < len(data) < 5e6
        with PIL.Image.open(io.BytesIO(data)) as image:
            assert image.size == (4000, 3000)


class TestTexts:
    @pytest.mark.parametrize("count", [8, 100, 4096])
    def test_lengths_are_alike_for_few_and_for_many(self, count: int) -> None:
        lengths = text_lengths(count)
        assert len(lengths) == count
        assert np.mean(lengths) == pytest.approx(41, rel=0.07)
        assert np.median(lengths) == pytest.approx(30, abs=1)
        assert min(lengths) >= 3
        assert max(lengths) <= 512

    def test_batches_are_those_of_the_backend(self, model: BenchmarkModel, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[list[list[int]]] = []
        with Workloads(model, CPU) as workloads:
            monkeypatch.setattr(workloads.engine, "embed_ids", seen.append, raising=True)
            workloads.texts(text_lengths(100), max_texts=8)()
        assert sorted(len(row) for rows in seen for row in rows) == sorted(text_lengths(100))
        assert max(len(rows) for rows in seen) == 8


class TestModels:
    def test_a_published_model_needs_no_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        for name, ratio in (("jina-clip-v1", 197 * 7.0 / 8.7), ("jinaai/jina-clip-v2", 1297)):
            found = find_benchmark_model(name)
            assert found.folder is None
            assert found.name in name
            assert found.image_tokens == pytest.approx(ratio, rel=0.2)
        assert list(tmp_path.iterdir()) == []

    def test_weights_that_are_here_are_used(
        self, tmp_path: Path, golden_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        cached = tmp_path / "models--jinaai--jina-clip-v2"
        (cached / "refs").mkdir(parents=True)
        (cached / "refs" / "main").write_text("abc", "utf-8")
        snapshot = cached / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        shutil.copy(golden_folder / "config.json", snapshot)
        assert find_benchmark_model("jina-clip-v2").folder is None  # a configuration alone is no checkpoint
        shutil.copytree(golden_folder, snapshot, dirs_exist_ok=True)
        found = find_benchmark_model("jina-clip-v2")
        assert found.folder == snapshot
        assert found.config.vision_config.layers < 12
        assert found.engine(CPU).embed_dim == found.config.vision_config.width

    @pytest.mark.parametrize(
        ("name", "error", "said"),
        [
            ("someone/else", CheckpointError, "not here, and a benchmark downloads nothing"),
            ("nowhere", CheckpointError, "neither a known model, a folder that exists, nor a Hub id"),
            ("", ConfigurationError, "model must be"),
        ],
    )
    def test_what_cannot_be_measured(self, name: str, error: type[Exception], said: str) -> None:
        with pytest.raises(error, match=said):
            find_benchmark_model(name)

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_random_weights_compute(self, golden_folder: Path, dtype: str) -> None:
        config = JinaClipConfig.from_pretrained(golden_folder)
        choice = choose_devices("cpu", dtype)[0]
        model = random_model(config, choice)
        assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
        assert all(0 < parameter.float().std() < 0.1 for parameter in model.parameters() if parameter.numel() > 1)
        engine = BenchmarkModel("made up", None, config).engine(choice)
        rows = engine.embed_ids([[5, 6, 7], [8, 9]])
        assert np.isfinite(rows).all()
        assert not np.allclose(rows[0], rows[1])
        assert engine.dtype == getattr(torch, dtype)
