"""The record of a job, beside its output: what it is, its partitions, and a receipt for each that is finished.

    _jina_clip/job.json               source, options, number of partitions
    _jina_clip/pieces.parquet         a row group per partition: its files, with size and time, rows or bytes
    _jina_clip/attempts/000000.json   how many workers have begun with partition 0 in the last run
    _jina_clip/done/000000.json       written once the rows of partition 0 are in place, and never changed

A partition with a receipt is finished for good. Keys and other secrets are in none of these files.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pyarrow import parquet

from ..errors import ConfigurationError
from .sources import PIECES, Piece, from_table, to_table
from .storage import Storage

FOLDER = "_jina_clip"
"""Readers of Parquet folders skip names that begin with an underscore."""

JOB, PIECES_FILE, LOCK = f"{FOLDER}/job.json", f"{FOLDER}/pieces.parquet", f"{FOLDER}/lock"
DONE, ATTEMPTS = f"{FOLDER}/done", f"{FOLDER}/attempts"

VERSION = 1
READ_THREADS = 16
SHOWN = 3
"""Files that a message names."""


@dataclass(frozen=True)
class Receipt:
    """A finished partition."""

    partition: int
    rows: int
    failed: int
    seconds: float
    data: dict[str, Any]
    """What the sink wants to remember of it."""


class Manifest:
    """The record of the job in a sink's folder."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._pieces: parquet.ParquetFile | None = None

    # The job

    def job(self) -> dict[str, Any] | None:
        """The record of the job; None where none was begun. Raises `ConfigurationError` for a damaged one."""
        if not self.storage.exists(JOB):
            return None
        try:
            job: dict[str, Any] = json.loads(self.storage.read(JOB))
            if job["version"] != VERSION:
                raise ValueError
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self.storage.show(JOB)} is damaged, or of another version; choose another sink, or delete this one"
            ) from error
        return job

    def begin(self, about: Mapping[str, Any], size: int, partitions: Iterable[list[Piece]]) -> dict[str, Any]:
        """Record a new job: its partitions first, so that a job that is there is complete."""
        self.storage.make_folder(DONE)
        self.storage.make_folder(ATTEMPTS)
        counted = 0

        def write(file: Any) -> None:
            nonlocal counted
            with parquet.ParquetWriter(file, PIECES) as writer:
                for partition in partitions:
                    writer.write_table(to_table(partition), row_group_size=len(partition))
                    counted += 1

        self.storage.put_with(PIECES_FILE, write)
        job = {"version": VERSION, "id": uuid.uuid4().hex, "partitions": counted, "partition_size": size, **about}
        self.storage.put(JOB, json.dumps(job, indent=1, ensure_ascii=False).encode())
        return job

    def is_of(self, job_id: str) -> bool:
        """Whether the job here is still the one of this id."""
        job = self.job()
        return job is not None and job["id"] == job_id

    # Partitions

    def pieces(self, partition: int) -> list[Piece]:
        """The pieces of a partition."""
        if self._pieces is None:
            file = self.storage.filesystem.open_input_file(self.storage.path(PIECES_FILE))
            self._pieces = parquet.ParquetFile(file)
        return from_table(self._pieces.read_row_group(partition))

    def all_pieces(self) -> Iterator[list[Piece]]:
        """The pieces of all partitions, in order."""
        with self.storage.filesystem.open_input_file(self.storage.path(PIECES_FILE)) as file:
            pieces = parquet.ParquetFile(file)
            for number in range(pieces.num_row_groups):
                yield from_table(pieces.read_row_group(number))

    # Receipts

    def receipt(self, partition: int) -> Receipt | None:
        """The receipt of a partition; None where it is not finished."""
        name = receipt_name(partition)
        return Receipt(**json.loads(self.storage.read(name))) if self.storage.exists(name) else None

    def finish(self, receipt: Receipt) -> None:
        """Write the receipt of a partition."""
        self.storage.put(receipt_name(receipt.partition), json.dumps(vars(receipt)).encode())

    def count_attempt(self, partition: int, run: str) -> int:
        """Note that a worker begins with a partition: how many have done so in this run."""
        name = f"{ATTEMPTS}/{partition:06d}.json"
        earlier = json.loads(self.storage.read(name)) if self.storage.exists(name) else {}
        count = earlier["count"] + 1 if earlier.get("run") == run else 1
        self.storage.put(name, json.dumps({"run": run, "count": count}).encode())
        return int(count)

    def finished(self) -> list[Receipt]:
        """The receipts of all finished partitions, in order."""
        names = [str(info.base_name) for info in self.storage.list(DONE) if str(info.base_name).endswith(".json")]
        numbers = [int(name.removesuffix(".json")) for name in names if not name.startswith(".")]
        with ThreadPoolExecutor(READ_THREADS) as pool:
            return [receipt for receipt in pool.map(self.receipt, sorted(numbers)) if receipt is not None]


def receipt_name(partition: int) -> str:
    """The file of a receipt."""
    return f"{DONE}/{partition:06d}.json"


def check_same_job(held: Mapping[str, Any], asked: Mapping[str, Any], where: str) -> None:
    """Raise `ConfigurationError` unless the job in the sink `where` is the one that is asked for."""
    differing = [
        f"{section}.{name} was {was.get(name)!r} and is {now.get(name)!r}"
        for section in asked
        for was, now in [(held.get(section, {}), asked[section])]
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
    if differing:
        raise ConfigurationError(
            f"{where} holds another job, and rows of both must not be mixed: {'; '.join(differing)}. Choose another "
            "sink, or delete this one; with the earlier options the job goes on where it stopped"
        )


def check_same_source(held: Iterable[list[Piece]], found: Iterable[list[Piece]], where: str, source: str) -> None:
    """Raise `ConfigurationError` unless the source is what it was when the job began."""
    changes: list[str] = []
    nothing: list[Piece] = []
    for before, now in zip_longest(held, found, fillvalue=nothing):
        if before != now:
            changes += _name_changes(before, now)
        if len(changes) >= SHOWN:
            break
    if changes:
        raise ConfigurationError(
            f"the source {source} is not what it was when the job in {where} began: {', '.join(changes[:SHOWN])}"
            f"{' and perhaps more' if len(changes) >= SHOWN else ''}. Choose another sink, or delete this one, to "
            "embed it as it is now; once it is as it was, the job goes on"
        )


def _name_changes(before: list[Piece], now: list[Piece]) -> list[str]:
    was, is_now = ({piece.path: piece for piece in pieces} for pieces in (before, now))
    changed = [path for path in was if path in is_now and _stamp(was[path]) != _stamp(is_now[path])]
    named = [f"{path} has changed" for path in changed]
    if not named:
        # Files that move everything behind them into other partitions are the first that only one side has.
        named += [f"{path} is gone" for path in was if path not in is_now][:1]
        named += [f"{path} is new" for path in is_now if path not in was][:1]
    return named or ["rows have other places"]


def _stamp(piece: Piece) -> tuple[int, int]:
    return piece.size, piece.mtime_ns


def check_pieces(pieces: Iterable[Piece], state: Callable[[str], Any], source: str) -> None:
    """Raise `ConfigurationError` for a file that is no longer what it was when the job began."""
    for path, piece in {piece.path: piece for piece in pieces}.items():
        now = state(path)
        if (now.size, now.mtime_ns or 0) != _stamp(piece):
            raise ConfigurationError(
                f"{source}: {path} has changed since the job began, or is gone; run the job again into another sink, "
                "or put the file back"
            )
