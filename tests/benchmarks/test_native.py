"""The table of `make bench`: every row is measured, and its share follows from its other figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jina_clip_integrations.backends.local.devices import cpu_has_native_bfloat16

from .conftest import Run, cells


def first(cell: str) -> float:
    return float(cell.split()[0].replace(",", "").rstrip("%"))


def test_the_table_has_every_row_and_names_the_machine(run_script: Run, small_folder: Path) -> None:
    done = run_script("native", "--folder", small_folder, "--images", 3, "--texts", 16, "--rounds", 1)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"`python benchmarks/native.py .*`, \d{4}-\d\d-\d\d, .+ \(.+\), \d+ processors.*torch ", done.stdout
    )

    rows = cells(done.stdout)
    types = ["bfloat16", "float32"] if cpu_has_native_bfloat16() else ["float32"]
    assert [(row[""], row["type"]) for row in rows] == [(what, t) for what in ("images", "mixed texts") for t in types]
    for row in rows:
        assert float(row["worst cosine"]) > (0.9999 if row["type"] == "float32" else 0.99)
        assert float(row["worst cosine"]) <= float(row["mean cosine"])
        before, after = (float(rate.replace(",", "")) for rate in row["products alone, GFLOP/s"].split(" / "))
        assert first(row["share"]) == pytest.approx(200 * first(row["GFLOP/s"]) / (before + after), rel=0.1, abs=1.5)


def test_what_is_measured_can_be_chosen(run_script: Run, small_folder: Path) -> None:
    chosen = ("--what", "texts", "--types", "float32", "--texts", 32, "--rounds", 2)
    done = run_script("native", "--folder", small_folder, *chosen)
    assert done.returncode == 0, done.stderr
    (row,) = cells(done.stdout)
    assert (row[""], row["type"]) == ("mixed texts", "float32")
    assert row["products alone, GFLOP/s"].count("/") == 2  # before, between and after
