"""`jina-clip bench`: what people and machines read, by a clock that ticks when it is looked at."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch

from jina_clip_integrations import LocalBackend
from jina_clip_integrations.backends.local.devices import choose_devices
from jina_clip_integrations.cli.bench import command as bench
from jina_clip_integrations.cli.bench import measure, workloads
from jina_clip_integrations.cli.bench.advice import Advice
from jina_clip_integrations.cli.bench.measure import Figure
from jina_clip_integrations.cli.bench.model import BenchmarkModel
from jina_clip_integrations.cli.bench.workloads import Workloads
from jina_clip_integrations.modeling import published
from tests.command_line import word_ids

GOLDEN = Path(__file__).parents[2] / "golden"
WORDS = ("bench", "--model", "demo", "--device", "cpu", "--dtype", "float32", "--threads", "1")


INTERRUPTIBLE = """
import sys, time
from jina_clip_integrations.cli.bench import measure
from jina_clip_integrations.cli.bench.workloads import Workloads
from jina_clip_integrations.cli.main import main
from tests.command_line import word_ids

measure.MAX_TEXTS = measure.MIN_TEXTS
texts = Workloads.texts

def slow_texts(self, lengths, *, max_texts):
    work = texts(self, lengths, max_texts=max_texts)
    return (lambda: (work(), time.sleep(0.2))) if max_texts != "auto" and len(lengths) > 1 else work

Workloads.texts = slow_texts
sys.exit(main(sys.argv[1:]))
"""
"""The command with few texts, so that the first figure comes soon, and slow ones after it, to be interrupted."""


@pytest.fixture(autouse=True)
def spent(monkeypatch: pytest.MonkeyPatch, load_engine: Any) -> list[float]:
    """Seconds by a clock that moves with the work: 0.3 per image, 0.001 per token, 1 per photo and per engine.

    Everything is computed as always, but the photo is a small one.
    """
    spent = [0.0]
    monkeypatch.setattr(workloads, "PHOTO_SIZE", (400, 300))

    def taking(seconds: float, work: Callable[[], object]) -> Callable[[], None]:
        def timed() -> None:
            work()
            spent[0] += seconds

        return timed

    texts, images, prepare = Workloads.texts, Workloads.images, measure.preprocess_workload
    monkeypatch.setattr(bench, "clock", lambda: spent[0])
    monkeypatch.setattr(
        Workloads,
        "texts",
        lambda self, lengths, max_texts: taking(sum(lengths) / 1000, texts(self, lengths, max_texts=max_texts)),
    )
    monkeypatch.setattr(Workloads, "images", lambda self, count: taking(0.3 * count, images(self, count)))
    monkeypatch.setattr(measure, "preprocess_workload", lambda model: taking(1.0, prepare(model)))

    def start(self: BenchmarkModel, choice: Any) -> Any:
        spent[0] += 1.0
        return load_engine(self, choice)

    monkeypatch.setattr(BenchmarkModel, "engine", start)
    return spent


class TestOutput:
    def test_people_read_tables_and_what_to_write(
        self, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        ran = run(*WORDS, "--seconds", "30")
        assert ran.code == 0, ran.err
        lines = ran.out.splitlines()
        assert lines[0] == "demo"
        assert lines[1].startswith("cpu, ")
        for part in ("images at a time", "texts at a time", "float32/s", "One short query", "12-megapixel", "Memory"):
            assert part in ran.out
        backend = eval(lines[-1], {"LocalBackend": LocalBackend})
        assert backend.settings.device == "cpu"
        assert backend.settings.dtype == "float32"
        assert "measuring demo on cpu for up to 30 s" in ran.err
        assert "float32, images, 1 at a time: " in ran.err
        assert list(tmp_path.iterdir()) == []

    def test_machines_read_one_document(self, run: Any) -> None:
        ran = run(*WORDS, "--seconds", "30", "--json", "--quiet")
        assert (ran.code, ran.err) == (0, "")
        report = ran.json
        assert report["model"] == "demo"
        assert report["weights"] == "checkpoint"
        assert report["interrupted"] is False
        assert report["seconds"] <= 30
        known = {field.name for field in fields(Figure)}
        assert all(set(figure) == known for figure in report["figures"])
        assert {figure["what"] for figure in report["figures"]} == {"query", "texts", "images", "decoding"}
        LocalBackend("demo", **report["advice"]["settings"])
        assert report["advice"]["call"].startswith('LocalBackend("demo", device="cpu", dtype="float32", batch_size=')
        assert len(report["reasons"]) == 3

    @pytest.mark.parametrize(
        ("option", "measured"),
        [("--text-only", {"query", "texts"}), ("--images-only", {"query", "images", "decoding"})],
    )
    def test_half_of_it(self, run: Any, option: str, measured: set[str]) -> None:
        report = run(*WORDS, "--seconds", "30", option, "--json").json
        assert {figure["what"] for figure in report["figures"]} == measured
        assert ("num_workers" in report["advice"]["settings"]) is (option == "--images-only")

    def test_two_precisions_stand_side_by_side(self, run: Any) -> None:
        ran = run("bench", "--model", "demo", "--dtype", "float32, bfloat16", "--text-only", "--seconds", "12")
        header = next(line for line in ran.out.splitlines() if line.startswith("texts"))
        assert header.split()[-2:] == ["float32/s", "bfloat16/s"]
        assert "dtype: tokens of text per second at best: " in ran.out

    def test_a_model_whose_weights_are_not_here_is_measured_without(
        self, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The published size stands aside for the golden checkpoint's, which takes less time to make."""
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        small = json.loads((GOLDEN / "v2" / "config.json").read_text("utf-8"))
        monkeypatch.setattr(published, "PUBLISHED", {"jina-clip-v2": small})
        ran = run("bench", "--seconds", "40", "--dtype", "float32", "--threads", "1")
        assert ran.code == 0, ran.err
        assert ran.out.startswith("jina-clip-v2 with random weights (its own are not here; the speed is the same)\n")
        assert ran.out.splitlines()[-1].startswith('LocalBackend("jina-clip-v2", dtype="float32", ')
        assert list(tmp_path.iterdir()) == []


class TestTime:
    @pytest.mark.parametrize("seconds", [5, 30])
    def test_the_limit_is_kept(self, run: Any, spent: list[float], seconds: float) -> None:
        ran = run(*WORDS, "--seconds", seconds)
        assert ran.code == 0, ran.err
        assert 0.3 * seconds <= spent[0] <= seconds

    def test_too_short_for_anything(self, run: Any, spent: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            bench, "list_choices", lambda *_: spent.__setitem__(0, 7.0) or choose_devices("cpu", "float32")
        )
        ran = run(*WORDS, "--seconds", "5", "--text-only", "--quiet")
        assert ran.code == 2
        assert ran.err == "jina-clip: nothing was measured: starting took 7 s; give more with --seconds\n"

    def test_too_short_for_advice(self, run: Any) -> None:
        ran = run(*WORDS, "--seconds", "1.05", "--text-only", "--quiet")
        assert ran.code == 0, ran.err
        assert ran.out.splitlines()[-1].startswith("Too little was measured for advice; give it more than 1 s")


class TestInterruption:
    @pytest.fixture
    def interrupted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C while the second batch of images is computed."""
        started: list[int] = []
        images = Workloads.images

        def stop(self: Workloads, count: int) -> Callable[[], None]:
            started.append(count)
            if len(started) == 2:
                raise KeyboardInterrupt
            return images(self, count)

        monkeypatch.setattr(Workloads, "images", stop)

    @pytest.mark.usefixtures("interrupted")
    def test_what_was_measured_is_shown(self, run: Any) -> None:
        ran = run(*WORDS, "--seconds", "40")
        assert ran.code == 130
        assert "texts at a time" in ran.out
        assert ran.out.splitlines()[-1].startswith('LocalBackend("demo"')
        assert ran.err.splitlines()[-1].startswith("jina-clip: interrupted: ")
        assert ran.err.splitlines()[-1].endswith(" figures measured")

    @pytest.mark.usefixtures("interrupted")
    def test_machines_are_told(self, run: Any) -> None:
        ran = run(*WORDS, "--seconds", "40", "--json", "--quiet")
        assert ran.code == 130
        assert ran.json["interrupted"] is True
        assert [figure["size"] for figure in ran.json["figures"] if figure["what"] == "images"] == [1]

    @pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="no such signal here")
    def test_a_real_signal(self) -> None:
        """In a process of its own: Ctrl-C as soon as it has told of a first figure on texts."""
        command = [sys.executable, "-c", INTERRUPTIBLE, *WORDS, "--seconds", "30", "--text-only"]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            signal.signal(signal.SIGINT, before)
        assert process.stderr is not None
        told = next((line for line in process.stderr if "texts, auto at a time" in line), None)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert told is not None, err
        assert process.returncode == 130
        assert "texts at a time" in out
        assert out.splitlines()[-1].startswith('LocalBackend("demo"')
        assert "interrupted: " in err.splitlines()[-1]
        assert "Traceback" not in err


class TestErrors:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--device", "cpu,cpu"], "one device is measured at a time"),
            (["--device", "quantum"], "no device name"),
            (["--device", "meta"], "torch cannot compute there"),
            (["--dtype", "int4"], "dtype='int4' is not known"),
            (["--device", "cpu", "--dtype", "float32,float16"], "float16"),
            (["--model", "nowhere"], "neither a known model"),
            (["--model", "some/one"], "a benchmark downloads nothing"),
            (["--model", "{empty}"], "has no config.json"),
        ],
        ids=word_ids,
    )
    def test_bad_requests_are_one_line(self, run: Any, tmp_path: Path, words: list[str], said: str) -> None:
        ran = run("bench", *[word.format(empty=tmp_path) for word in words])
        assert ran.code == 2
        assert said in ran.err
        assert (ran.out, ran.err.count("\n")) == ("", 1)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--seconds", "0"], "not a positive number of seconds"),
            (["--seconds", "nan"], "not a positive number of seconds"),
            (["--seconds", "soon"], "not a positive number of seconds"),
            (["--threads", "0"], "not a positive integer"),
            (["--text-only", "--images-only"], "not allowed with"),
        ],
        ids=word_ids,
    )
    def test_bad_options_are_named(self, run: Any, words: list[str], said: str) -> None:
        ran = run("bench", *words)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err

    @pytest.mark.parametrize("package", ["torch", "transformers"])
    def test_a_missing_extra_names_its_line(self, run: Any, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
        ran = run("bench")
        assert ran.code == 2
        assert ran.err == (
            f"jina-clip: jina-clip bench needs the package {package!r}; "
            'install it with: pip install "jina-clip-integrations[local]"\n'
        )

    def test_a_model_that_does_not_fit(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setattr(BenchmarkModel, "engine", full)
        ran = run(*WORDS, "--seconds", "30", "--text-only", "--quiet")
        assert ran.code == 1
        assert ran.err == "jina-clip: nothing could be measured: the model does not fit into the memory of cpu\n"


class TestParts:
    def test_help_does_not_load_torch(self) -> None:
        code = (
            "import sys\nfrom jina_clip_integrations.cli.main import main\n"
            "try: main(['bench', '--help'])\nexcept SystemExit: pass\n"
            "print('LOADED', sorted({'torch', 'transformers', 'PIL'} & set(sys.modules)))"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == "LOADED []"

    def test_the_native_precision_and_float32_are_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from jina_clip_integrations.backends.local import devices

        for native, expected in ((True, ["bfloat16", "float32"]), (False, ["float32"])):
            monkeypatch.setattr(devices, "cpu_has_native_bfloat16", lambda native=native: native)
            assert [choice.dtype for choice in bench.list_choices("cpu", None)] == expected

    @pytest.mark.parametrize(
        ("dtypes", "expected"),
        [("float32", ["float32"]), ("bf16, float32", ["bfloat16", "float32"]), ("fp32,float32", ["float32"])],
    )
    def test_precisions_are_those_asked_for_in_their_order(self, dtypes: str, expected: list[str]) -> None:
        assert [choice.dtype for choice in bench.list_choices("cpu", dtypes)] == expected

    def test_a_table_says_why_a_figure_is_missing(self) -> None:
        figures = [
            Figure(what="images", dtype="bfloat16", size=1, per_second=12.34),
            Figure(what="images", dtype="bfloat16", size=61, auto=True, per_second=99.96),
            Figure(what="images", dtype="float32", size=1, per_second=3.0),
            Figure(what="images", dtype="float32", size=61, auto=True, why_not="out of memory"),
        ]
        assert bench.speed_table(figures, "images", "images at a time") == [
            "",
            "images at a time  bfloat16/s      float32/s",
            "1                       12.3              3",
            "61 (auto)                100  out of memory",
        ]
        assert bench.speed_table(figures, "texts", "texts at a time") == []

    def test_the_device_is_named_where_it_is_not_the_usual_one(self) -> None:
        advice = Advice({"dtype": "float32"}, ["because"])
        assert bench.add_device(advice, "auto") == advice
        named = bench.add_device(advice, "cuda:1")
        assert named is not None
        assert asdict(named)["settings"] == {"device": "cuda:1", "dtype": "float32"}
        assert bench.add_device(None, "cuda:1") is None

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.0084, "8.4 ms"), (1.234, "1.23 s"), (90, "1.5 min"), (16200, "4.5 h")]
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert bench.format_duration(seconds) == text
