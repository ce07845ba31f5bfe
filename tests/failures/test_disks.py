"""Full disks, folders that may not be written, files that another process has: one clear line, nothing damaged."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.cache import DiskCache
from tests.failures.test_kills import fill, fill_cache, keys_of, row_of, stored
from tests.failures.victims import BACKEND, command, report, run_command, start

LINES = 1000
SMALL_BYTES = 24_000
"""What the disk of these tests holds."""


def run_limited(limit_bytes: int, work: Callable[..., None], *arguments: Any) -> None:
    """`work` in a process whose files end there, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    work(*arguments)


def run_as_nobody(work: Callable[..., None], *arguments: Any) -> None:
    """`work` without the rights of root, who may write anywhere."""
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    work(*arguments)


def use_cache(folder: Path) -> None:
    """Store and look up; the warnings and what was found are reported."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = DiskCache(folder)
        for batch in range(100):
            cache.set_many({key: row_of(key) for key in keys_of(batch)})
        found = sum(len(cache.get_many(keys_of(batch))) for batch in range(100))
        cache.close()
    report(([str(warning.message) for warning in caught], found))


def limited(work: Callable[..., None], *arguments: Any, limit_bytes: int = SMALL_BYTES) -> Any:
    """The last report of `work` with little room."""
    with start(run_limited, limit_bytes, work, *arguments) as victim:
        return victim.finish()[-1]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Texts whose vectors are larger than the disk."""
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(f"text number {n}" for n in range(LINES)), encoding="utf-8")
    return file


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own with room for little; without the right to mount one, a folder like any other."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.getuid() == 0 and shutil.which("mount") is not None
    if mounted:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={2 * SMALL_BYTES},mode=777", "none", str(folder)]
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("extension", ["npy", "jsonl", "parquet"])
def test_embed_on_a_full_disk(tmp_path: Path, small_disk: Path, lines: Path, extension: str) -> None:
    """The output of before stays, what is finished is kept, and the same command goes on where there is room."""
    output = small_disk / f"out.{extension}"
    output.write_bytes(b"of an earlier job")
    embed = ("embed", "--texts", str(lines), *BACKEND, "--quiet", "--output", str(output))
    code, said = limited(run_command, *embed)
    assert code == 1
    assert said.count("\n") <= 2
    assert f"{output.name}" in said
    assert "No space left on device" in said or "File too large" in said
    assert output.read_bytes() == b"of an earlier job"
    assert {file.name for file in small_disk.iterdir()} <= {output.name, f"{output.name}.part"}
    for file in small_disk.iterdir():
        shutil.move(file, tmp_path / file.name)
    elsewhere = tmp_path / output.name
    assert command(*embed[:-1], elsewhere)[0] == 0
    assert command(*embed[:-1], tmp_path / f"undisturbed.{extension}")[0] == 0
    assert elsewhere.read_bytes() == (tmp_path / f"undisturbed.{extension}").read_bytes()


@pytest.mark.parametrize("room", ["disk", "file"])
def test_index_on_a_full_disk(tmp_path: Path, small_disk: Path, room: str) -> None:
    """What fitted is in the store, which opens, and the same command goes on where there is room."""
    folder = tmp_path / "folder"
    fill(folder, random.Random(0), 60)
    store = (small_disk if room == "disk" else tmp_path) / "store"
    index = ("index", str(folder), *BACKEND, "--store")
    code, said = limited(
        run_command, *index, str(store), limit_bytes=10 * SMALL_BYTES if room == "disk" else SMALL_BYTES
    )
    if room == "disk" and code == 0:
        assert not os.path.ismount(small_disk)  # this user may not mount one
        return
    assert code == 1
    assert f"the vector store {store} failed" in said
    assert "the same command again goes on from there" in said
    shutil.copytree(store, tmp_path / "roomy")
    assert command(*index, tmp_path / "roomy")[0] == 0
    assert command(*index, tmp_path / "undisturbed")[0] == 0
    assert stored(tmp_path / "roomy") == stored(tmp_path / "undisturbed")


def test_a_cache_on_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """One warning, and everything that it gives back is right."""
    for folder in (small_disk / "cache", tmp_path / "cache"):
        warned, found = limited(use_cache, folder, limit_bytes=4 * SMALL_BYTES)
        if folder.is_relative_to(small_disk) and not os.path.ismount(small_disk):
            continue
        assert len(warned) == 1
        assert f"the cache {str(folder)!r} cannot be written" in warned[0]
        assert found < 2000
        shutil.copytree(folder, tmp_path / f"copy of {folder.parent.name}")
        cache = DiskCache(tmp_path / f"copy of {folder.parent.name}")
        for batch in range(100):
            for key, row in cache.get_many(keys_of(batch)).items():
                np.testing.assert_array_equal(row, row_of(key))
        cache.set_many({"one more": row_of("one more")})
        assert cache.get_many(["one more"])
        cache.close()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be read and not written."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        with suppress(PermissionError):  # of others, who have seen to it themselves
            folder.chmod(folder.stat().st_mode | 0o755)
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def as_nobody(work: Callable[..., None], *arguments: Any) -> Any:
    with start(run_as_nobody, work, *arguments) as victim:
        return victim.finish()[-1]


def test_folders_that_may_not_be_written(read_only: Path, lines: Path) -> None:
    code, said = as_nobody(run_command, "embed", "a", *BACKEND, "--quiet", "--output", str(read_only / "x.npy"))
    assert (code, said.count("\n")) == (2, 1)
    assert f"{read_only / 'x.npy.part'}: Permission denied" in said
    code, said = as_nobody(
        run_command, "index", str(read_only.parent), *BACKEND, "--quiet", "--store", str(read_only / "store")
    )
    assert (code, said.count("\n")) == (2, 1)
    assert "Permission denied" in said
    warned, found = as_nobody(use_cache, read_only / "cache")
    assert found == 0
    assert len(warned) == 1
    assert "going on without it" in warned[0]


# Two at a time


def test_a_store_has_one_writer(tmp_path: Path) -> None:
    fill(tmp_path / "folder", random.Random(0), 60)
    index = ("index", str(tmp_path / "folder"), *BACKEND, "--quiet", "--store", str(tmp_path / "store"))
    with start(run_command, *index) as first, start(run_command, *index) as second:
        ends = [first.finish()[-1], second.finish()[-1]]
    assert sorted(code for code, _ in ends) in ([0, 1], [0, 0])  # or one came after the other
    for code, said in ends:
        assert code == 0 or "is in use by another program; wait for it" in said
        assert said.count("\n") == code
    assert command(*index)[0] == 0
    assert len(stored(tmp_path / "store")) > 60


def test_an_output_has_one_writer(tmp_path: Path, lines: Path) -> None:
    embed = ("embed", "--texts", str(lines), *BACKEND, "--quiet", "--output", str(tmp_path / "x.npy"))
    with start(run_command, *embed) as first, start(run_command, *embed) as second:
        ends = [first.finish()[-1], second.finish()[-1]]
    for code, said in ends:
        assert code == 0 or "another program is writing" in said
    assert 0 in {code for code, _ in ends}
    assert np.load(tmp_path / "x.npy").shape == (LINES, 8)


def test_a_cache_has_any_number_of_users(tmp_path: Path) -> None:
    """Six processes make the same new cache at the same moment and write the same and other entries to it."""
    ranges = [range(40), range(40), range(20, 60), range(20, 60), range(60, 80), range(60, 80)]
    with ExitStack() as stack:
        victims = [stack.enter_context(start(warn_loudly, tmp_path / "cache", batches)) for batches in ranges]
        for victim, batches in zip(victims, ranges, strict=True):
            assert victim.finish() == ["started", *batches]
    cache = DiskCache(tmp_path / "cache")
    assert len(cache) == 80 * len(keys_of(0))
    cache.close()


def warn_loudly(folder: Path, batches: range) -> None:
    warnings.simplefilter("error")
    fill_cache(folder, batches)
