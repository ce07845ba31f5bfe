"""The working file and the formats that it becomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jina_clip_integrations.cli.vector_files import (
    Source,
    WorkingFile,
    find_writer,
    shorten_floats,
    sidecar_path,
    write_npy,
)
from jina_clip_integrations.errors import InputError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_rows_come_back_as_they_were_kept(tmp_path: Path) -> None:
    part = WorkingFile(tmp_path / "x.npy", dimensions=3, job="a")
    part.append(ROWS[:1])
    part.append(ROWS[1:])
    np.testing.assert_array_equal(part.vectors(), ROWS)
    again = WorkingFile(tmp_path / "x.npy", dimensions=3, job="a")
    assert again.rows == 4
    np.testing.assert_array_equal(again.vectors(), ROWS)


def test_an_empty_one_has_no_rows(tmp_path: Path) -> None:
    assert WorkingFile(tmp_path / "x.npy", dimensions=3, job="a").vectors().shape == (0, 3)


def test_a_torn_row_is_cut_off(tmp_path: Path) -> None:
    part = WorkingFile(tmp_path / "x.npy", dimensions=3, job="a")
    part.append(ROWS[:2])
    with part.path.open("ab") as file:
        file.write(b"12345")
    again = WorkingFile(tmp_path / "x.npy", dimensions=3, job="a")
    again.append(ROWS[2:])
    np.testing.assert_array_equal(again.vectors(), ROWS)


@pytest.mark.parametrize(("dimensions", "job"), [(3, "b"), (4, "a")])
def test_another_job_starts_anew(tmp_path: Path, dimensions: int, job: str) -> None:
    WorkingFile(tmp_path / "x.npy", dimensions=3, job="a").append(ROWS)
    assert WorkingFile(tmp_path / "x.npy", dimensions=dimensions, job=job).rows == 0


def test_it_can_be_discarded_twice(tmp_path: Path) -> None:
    part = WorkingFile(tmp_path / "x.npy", dimensions=3, job="a")
    part.discard()
    part.discard()
    assert not part.path.exists()


@pytest.mark.parametrize("name", ["x.csv", "x", "x.npz"])
def test_unknown_formats_are_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="must end in"):
        find_writer(tmp_path / name)


def test_extensions_may_be_upper_case(tmp_path: Path) -> None:
    assert find_writer(tmp_path / "X.NPY") is write_npy


def test_the_sidecar_stands_beside_the_vectors(tmp_path: Path) -> None:
    write_npy(tmp_path / "x.npy", [Source("text", "ü")], ROWS[:1], {"model": "m"})
    assert "ü" in sidecar_path(tmp_path / "x.npy").read_text("utf-8")


def test_short_numbers_read_back_exactly() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    np.testing.assert_array_equal(np.float32(shorten_floats(values)), values)
    assert len(repr(shorten_floats(values)[0])) < len(repr(values.tolist()[0]))
