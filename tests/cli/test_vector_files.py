"""The working file and the formats that it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
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
from jina_clip_integrations.errors import BackendError, InputError
from jina_clip_integrations.retrieval.vector_table import TableInfo

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
INFO = TableInfo(model="m", dimensions=3)


@contextmanager
def open_part(folder: Path, *, dimensions: int = 3, job: str = "a") -> Iterator[WorkingFile]:
    """The working file of one run."""
    with closing(WorkingFile(folder / "x.npy", dimensions=dimensions, job=job)) as part:
        yield part


def test_rows_come_back_as_they_were_kept(tmp_path: Path) -> None:
    with open_part(tmp_path) as part:
        part.append(ROWS[:1])
        part.append(ROWS[1:])
        np.testing.assert_array_equal(part.vectors(), ROWS)
    with open_part(tmp_path) as again:
        assert again.rows == 4
        np.testing.assert_array_equal(again.vectors(), ROWS)


def test_an_empty_one_has_no_rows(tmp_path: Path) -> None:
    with open_part(tmp_path) as part:
        assert part.vectors().shape == (0, 3)
        assert part.missing_rows() == []


def test_a_torn_row_is_cut_off(tmp_path: Path) -> None:
    with open_part(tmp_path) as part:
        part.append(ROWS[:2])
    with part.path.open("ab") as file:
        file.write(b"12345")
    with open_part(tmp_path) as again:
        again.append(ROWS[2:])
        np.testing.assert_array_equal(again.vectors(), ROWS)


@pytest.mark.parametrize(("dimensions", "job"), [(3, "b"), (4, "a")])
def test_another_job_starts_anew(tmp_path: Path, dimensions: int, job: str) -> None:
    with open_part(tmp_path) as part:
        part.append(ROWS)
    with open_part(tmp_path, dimensions=dimensions, job=job) as other:
        assert other.rows == 0


def test_it_can_be_discarded_twice(tmp_path: Path) -> None:
    with open_part(tmp_path) as part:
        part.discard()
        part.discard()
        assert not part.path.exists()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with open_part(tmp_path) as part:
        part.append(ROWS)
        with pytest.raises(BackendError, match=r"another program is writing .*x\.npy"), open_part(tmp_path):
            pass
    with open_part(tmp_path) as again:
        assert again.rows == 4


def test_rows_that_were_left_out_can_be_computed_again(tmp_path: Path) -> None:
    with open_part(tmp_path) as part:
        part.append(np.concatenate([ROWS[:1], np.full((1, 3), np.nan, np.float32), ROWS[2:]]))
        assert part.missing_rows() == [1]
        part.forget_from(1)
        part.append(ROWS[1:])
        np.testing.assert_array_equal(part.vectors(), ROWS)


@pytest.mark.parametrize("name", ["x.npy", "x.jsonl", "x.parquet"])
def test_an_output_is_replaced_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    write, sources = find_writer(tmp_path / name), [Source("text", str(n)) for n in range(4)]
    write(tmp_path / name, sources, ROWS, INFO)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write(tmp_path / name, [*sources[:3], Source("text", object())], -ROWS, INFO)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_link_to_an_output_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.npy").write_bytes(b"")
    (tmp_path / "real" / "x.npy").chmod(0o640)
    (tmp_path / "x.npy").symlink_to(tmp_path / "real" / "x.npy")
    write_npy(tmp_path / "x.npy", [Source("text", "a")] * 4, ROWS, INFO)
    assert (tmp_path / "x.npy").is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "real" / "x.npy"), ROWS)
    assert (tmp_path / "real" / "x.npy").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["x.csv", "x", "x.npz"])
def test_unknown_formats_are_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="must end in"):
        find_writer(tmp_path / name)


def test_extensions_may_be_upper_case(tmp_path: Path) -> None:
    assert find_writer(tmp_path / "X.NPY") is write_npy


def test_the_sidecar_stands_beside_the_vectors(tmp_path: Path) -> None:
    write_npy(tmp_path / "x.npy", [Source("text", "ü")], ROWS[:1], INFO)
    assert "ü" in sidecar_path(tmp_path / "x.npy").read_text("utf-8")


def test_short_numbers_read_back_exactly() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    np.testing.assert_array_equal(np.float32(shorten_floats(values)), values)
    assert len(repr(shorten_floats(values)[0])) < len(repr(values.tolist()[0]))
