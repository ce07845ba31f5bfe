"""The benchmark of a GPU, on a processor and tiny models: every row is produced, and nothing outlasts its time."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from .conftest import BENCHMARKS, Run, cells

FIGURES = ("ms", "per second", "TFLOP/s", "share", "first call, s")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return {name: importlib.import_module(name) for name in ("gpu_plan", "gpu_worker", "gpu")}


def measured_rows(printed: str) -> list[dict[str, str]]:
    """All rows, each of which has all its figures."""
    rows = cells(printed)
    for row in rows:
        for name in FIGURES:
            assert float(row[name].replace(",", "").rstrip("%")) >= 0, row
        assert row["cosine"] == "reference" if row["type"] == "float32" else float(row["cosine"]) > 0.999, row
    return rows


def test_without_cuda_it_says_so_and_ends_with_2(run_script: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run_script("gpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no CUDA device" in done.stderr
    assert "--device cpu --tiny" in done.stderr


def test_the_script_prints_every_row_of_v1(run_script: Run) -> None:
    done = run_script("gpu", "--device", "cpu", "--tiny", "--models", "v1")
    assert done.returncode == 0, done.stderr
    rows = measured_rows(done.stdout)
    assert [(row["type"], row["mode"]) for row in rows] == [
        *[("float32", "eager")] * 2, *[("bfloat16", "eager")] * 2, ("bfloat16", "compiled"),
    ]  # fmt: skip
    assert "float32 of v1 beside the published computation on the processor, worst cosine: images 1.0000" in done.stdout
    assert "Target for texts of mixed lengths of v2 in bfloat16, 45%: not measured" in done.stdout


def test_every_case_of_v2_is_measured(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, worker, gpu = modules["gpu_plan"], modules["gpu_worker"], modules["gpu"]
    plan.make_checkpoint(tmp_path / "v2", "v2", tiny=True)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    groups = plan.plan(plan.TINY, ["v2"])
    assert {(case.dtype, case.mode) for group in groups for case in group.cases} == {
        (dtype, mode) for dtype in ("bfloat16", "float16") for mode in ("eager", "compiled")
    } | {("float32", "eager")}
    for group in groups:
        copy = plan.Group.from_json(group.to_json())
        assert copy == group
        found = [*worker.Worker(copy, tmp_path / "v2", "cpu", True, time.time() + 600).run()]
        measured = gpu.Measured(copy, cases={figures["case"]: figures for figures in found if "case" in figures})
        measured.rates = [figures["rate"] for figures in found if "rate" in figures]
        assert len(measured.rates) == 2
        rows = [dict(zip((name.lstrip(">") for name in gpu.COLUMNS), row, strict=True)) for row in gpu._rows(measured)]
        assert len(rows) == len(group.cases)
        assert measured_rows(gpu.table([*rows[0]], [[*row.values()] for row in rows])) == rows
        if group.cases[0].dtype == "float32":
            (check,) = (figures["check"] for figures in found if "check" in figures)
            assert min(check.values()) > 0.99999


@pytest.mark.long_run
def test_the_script_prints_every_row(run_script: Run, modules: dict[str, ModuleType]) -> None:
    done = run_script("gpu", "--device", "cpu", "--tiny")
    assert done.returncode == 0, done.stderr
    groups = modules["gpu_plan"].plan(modules["gpu_plan"].TINY, ["v2", "v1"])
    assert len(measured_rows(done.stdout)) == sum(len(group.cases) for group in groups)


def test_what_did_not_fit_is_said_to_be_missing(run_script: Run) -> None:
    done = run_script("gpu", "--device", "cpu", "--tiny", "--models", "v1", "--budget", 1)
    assert done.returncode == 0, done.stderr
    rows = cells(done.stdout)
    assert len(rows) == 5
    assert {row["first call, s"] for row in rows} == {"not measured: no time left"}


def test_a_process_ends_at_its_time_and_leaves_what_it_has_written(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    gpu, plan = modules["gpu"], modules["gpu_plan"]
    output = tmp_path / "figures"
    output.write_text('{"rate": 2.0}\n{"case": 0, "seconds": 1.0, "flops": 1.0}\n{"case": 1, "sec')
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    assert gpu._run_until(command, time.time() + 0.5, tmp_path) is None
    measured = gpu.Measured(plan.plan(plan.TINY, ["v2"])[0])
    measured.read(output)
    assert measured.share(0) == 0.5
    assert measured.share(1) is None
    assert "ended with 3" in gpu._run_until([sys.executable, "-c", "raise SystemExit(3)"], time.time() + 60, tmp_path)


def test_half_as_many_where_memory_is_full(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, worker, gpu = modules["gpu_plan"], modules["gpu_worker"], modules["gpu"]
    plan.make_checkpoint(tmp_path / "v2", "v2", tiny=True)
    case = plan.Case("v2", plan.TENSORS, "tensors", 61, 0, "bfloat16", "eager")
    one = worker.Worker(plan.Group("v2", 1.0, [case]), tmp_path / "v2", "cpu", True, time.time() + 60)
    tried: list[int] = []

    def takes_at_most_15(case: Any, amount: int) -> dict[str, Any]:
        tried.append(amount)
        if amount > 15:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"first": 0.0, "seconds": 1.0, "flops": 1.0, "cosine": 1.0}

    monkeypatch.setattr(one, "_measure_engine", takes_at_most_15)
    found = one.measure(case)
    assert (tried, found["amount"]) == ([61, 30, 15], 15)
    measured = gpu.Measured(one.group, cases={0: found})
    assert next(gpu._rows(measured))[4] == "15 (no memory for 61)"

    failing = dataclasses.replace(case, kind="jpeg", amount=4, length=1)  # no photo has that size
    one.group.cases[:] = [failing, case]
    monkeypatch.setattr(one, "product_rate", lambda: 1.0)
    figures = [*one.run()]
    assert figures[1]["failed"].startswith("StopIteration")  # and the next case is measured all the same
    assert figures[2]["case"] == 1
    assert figures[2]["amount"] == 15
