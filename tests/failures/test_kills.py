"""`kill -9` at random moments: after the same command again everything is there, once, as in an undisturbed run."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qdrant_client import QdrantClient

from jina_clip_integrations.cache import DISK_FILE, DiskCache
from tests.failures.victims import BACKEND, command, duration_of, kill_command, report, start

KILLS = 10
"""Kills of each test, times `effort`."""

KILLS_PER_FORMAT = 4
"""The same of each format of `embed`."""

KILLS_PER_ROUND = 4
"""Kills before what is there is brought to its end and compared, and everything starts anew."""

FILES = 120


def fill(folder: Path, rng: random.Random, count: int = FILES) -> None:
    """Small images and texts of several passages."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        if number % 3:
            write_text(folder / f"{number}.txt", rng)
        else:
            colour = tuple(rng.randrange(256) for _ in range(3))
            Image.new("RGB", (4, 4), colour).save(folder / f"{number}.png")


def write_text(file: Path, rng: random.Random) -> None:
    parts = [f"# Part {n}\n\n" + " ".join(str(rng.random()) for _ in range(40)) for n in range(rng.randrange(1, 5))]
    file.write_text("\n\n".join(parts), encoding="utf-8")


def change(folder: Path, rng: random.Random) -> None:
    """Some files get another content, some go, some come."""
    for file in rng.sample(sorted(folder.glob("*.txt")), 12):
        write_text(file, rng)
    for file in rng.sample(sorted(folder.iterdir()), 4):
        file.unlink()
    fill(folder, rng, count=8)


def stored(store: Path) -> dict[str, Any]:
    """Id to payload and vector of every point."""
    client = QdrantClient(path=str(store))
    try:
        points, _ = client.scroll("jina-clip", limit=10_000, with_payload=True, with_vectors=True)
    finally:
        client.close()
    return {str(point.id): (point.payload, tuple(point.vector)) for point in points}


def kill_until(count: int, kill: Any) -> int:
    """Kill until so many runs have died before their end. How many starts it took."""
    died = starts = 0
    while died < count:
        starts += 1
        assert starts < 20 * count, "the victims end before they are killed"
        died += kill()
    return starts


def rounds(kills: int) -> Iterator[int]:
    """Kills of each round."""
    left = kills
    while left > 0:
        yield min(KILLS_PER_ROUND, left)
        left -= KILLS_PER_ROUND


def test_index(tmp_path: Path, effort: int) -> None:
    rng = random.Random(1)
    folder, store = tmp_path / "folder", tmp_path / "store"
    fill(folder, rng)
    index = ("index", folder, *BACKEND, "--quiet", "--store")
    within_s = duration_of(*index, tmp_path / "timed")
    for number, kills in enumerate(rounds(KILLS * effort)):
        # In turn a store that is made anew and one that is brought up to date.
        if number % 2 == 0:
            shutil.rmtree(store, ignore_errors=True)
        kill_until(kills, lambda: kill_command(rng, within_s, *index, store))
        change(folder, rng)
        kill_until(1, lambda: kill_command(rng, within_s, *index, store))
        assert command(*index, store)[0] == 0
        assert command(*index, tmp_path / f"undisturbed{number}")[0] == 0
        assert stored(store) == stored(tmp_path / f"undisturbed{number}")
        shutil.rmtree(tmp_path / f"undisturbed{number}")


@pytest.mark.parametrize("extension", ["npy", "jsonl", "parquet"])
def test_embed(tmp_path: Path, extension: str, effort: int) -> None:
    rng = random.Random(extension)
    folder, output = tmp_path / "folder", tmp_path / f"out.{extension}"
    fill(folder, rng, 30)
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(str(rng.random()) for _ in range(400)), encoding="utf-8")
    embed = ("embed", "--texts", lines, "--images", folder, *BACKEND, "--quiet", "--output")
    within_s = duration_of(*embed, tmp_path / f"undisturbed.{extension}")
    expected = (tmp_path / f"undisturbed.{extension}").read_bytes()
    for kills in rounds(KILLS_PER_FORMAT * effort):
        output.write_bytes(b"of an earlier job")
        for _ in range(kills):
            kill_until(1, lambda: kill_command(rng, within_s, *embed, output))
            assert output.read_bytes() in (b"of an earlier job", expected)
        assert command(*embed, output)[0] == 0
        assert output.read_bytes() == expected
        left = {file.name for file in tmp_path.iterdir()} - {"folder", "lines.txt", "out.json", "undisturbed.json"}
        assert left == {output.name, f"undisturbed.{extension}"}


def fill_cache(folder: Path, batches: range) -> None:
    """Report every batch of entries once it is stored."""
    cache = DiskCache(folder)
    report("started")
    for batch in batches:
        cache.set_many({key: row_of(key) for key in keys_of(batch)})
        report(batch)


def keys_of(batch: int) -> list[str]:
    return [f"key-{batch}-{n}" for n in range(20)]


def row_of(key: str) -> Any:
    """A value that follows from its key, in every process."""
    return np.random.default_rng(list(key.encode())).random(64, np.float32)


OTHERS = range(10_000_000, 10_000_030)
"""Batches of a process that is left alone."""


@pytest.mark.parametrize("others", [0, 2])
def test_cache(tmp_path: Path, others: int, effort: int) -> None:
    """What was stored before the kill is there, and nothing is wrong; also with others writing to it all the while."""
    rng = random.Random(others)
    done: set[int] = set()
    for number in range(KILLS * effort):
        batches = range(number * 1000, number * 1000 + 1000)
        with ExitStack() as stack:
            running = [stack.enter_context(start(fill_cache, tmp_path / "cache", OTHERS)) for _ in range(others)]
            victim = stack.enter_context(start(fill_cache, tmp_path / "cache", batches))
            assert victim.kill_after(rng.uniform(0, 0.1))
            done |= {batch for batch in victim.reports() if isinstance(batch, int)}
            for other in running:
                assert other.finish() == ["started", *OTHERS]
        newest = [batch for batch in done if batch in batches]
        check_cache(tmp_path / "cache", [*newest, *(OTHERS if others else ())])
    check_cache(tmp_path / "cache", sorted(done)[::10])
    assert len(done) > KILLS


def check_cache(folder: Path, batches: list[int]) -> None:
    cache = DiskCache(folder)
    for batch in batches:
        found = cache.get_many(keys_of(batch))
        assert found.keys() == set(keys_of(batch))
        for key, row in found.items():
            np.testing.assert_array_equal(row, row_of(key))
    with sqlite3.connect(folder / DISK_FILE) as database:
        assert database.execute("SELECT count(*) - count(DISTINCT key) FROM entries").fetchone() == (0,)
    database.close()
    cache.close()
