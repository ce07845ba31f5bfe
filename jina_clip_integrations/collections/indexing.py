"""Bringing a store up to date with a folder: the one way in which command line, app and agents' server do it.

A run finds out what is new, changed or gone without embedding anything, embeds what has to be, and stores every chunk
as soon as it is finished, so that neither an interruption nor an outage loses it. Searches go on meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError, JinaClipError
from ..types import Vectors
from .chunk_sizes import ChunkSizer
from .facts import ImageFacts, read_facts
from .identity import CollectionModel
from .passages import split_passages
from .payload import FACTS_VERSION
from .scan import SourceFile, Stamp, file_digest, read_stamp, read_text, scan
from .store import Entry, FolderStore, StoredFile, make_point_id

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

FILES_PER_REFRESH = 256
"""Files whose facts are written at a time."""

Stamped = tuple[SourceFile, Stamp]


@dataclass(frozen=True)
class IndexProgress:
    """How far a run has come."""

    stage: Literal["scanning", "refreshing", "embedding"]
    """Looking for changes; writing facts that an older store lacks; embedding."""
    done: int
    """Files done in this stage."""
    total: int | None
    """Files of this stage; None while they are still being counted."""


OnProgress = Callable[[IndexProgress], None]


@dataclass
class IndexReport:
    """What a run did, in files."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    refreshed: int = 0
    """Of the unchanged ones, those whose facts were written anew, without embedding."""
    removed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """File to why it was left out."""
    unread: dict[str, str] = field(default_factory=dict)
    """File of another kind, or folder, to why it is not read."""
    stopped: bool = False
    """Whether it was asked to stop before it was finished; another run goes on from there."""

    @property
    def changes(self) -> int:
        """How many files of the store are not as they were, or could not be brought up to date."""
        return self.added + self.updated + self.refreshed + self.removed + len(self.failed)

    @property
    def left_out(self) -> dict[str, str]:
        """Every file that is not in the store, to the reason."""
        return {**self.unread, **self.failed}


@dataclass
class Plan:
    """What a run has to do, found out without embedding anything."""

    new: list[Stamped] = field(default_factory=list)
    changed: list[Stamped] = field(default_factory=list)
    touched: list[Stamped] = field(default_factory=list)
    """Their time changed, their content did not."""
    to_refresh: list[SourceFile] = field(default_factory=list)
    """Unchanged, of an older store that has no facts of them."""
    unchanged: int = 0
    vanished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """File to why it was left out."""
    kept: set[str] = field(default_factory=set)
    """Those of `failed` that could not be opened now and may be back tomorrow: what is stored of them stays."""
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def to_embed(self) -> list[Stamped]:
        """New and changed files, in the folder's order."""
        return sorted([*self.new, *self.changed], key=lambda pair: pair[0].name)


class Indexer:
    """Brings what a store holds of a folder up to date. One run at a time; searches of the store may go on."""

    def __init__(
        self,
        store: FolderStore,
        root: Path,
        encoder: JinaClipEncoder,
        model: CollectionModel,
        *,
        keep_vanished: bool = False,
    ) -> None:
        """`root` is absolute; the store is prepared for `model`. With `keep_vanished` nothing is removed."""
        self._store = store
        self._root = root
        self._encoder = encoder
        self._model = model
        self._keep_vanished = keep_vanished
        # A store inside the folder would index its own files.
        self._exclude = None if store.is_server else Path(store.location).expanduser().resolve()
        self._stored: dict[str, StoredFile] = {}
        self._on_progress: OnProgress = _ignore
        self._stop = threading.Event()
        self.to_embed = 0
        """Files that the last run had to embed, also where an error ended it."""
        self._finished: set[str] = set()

    @property
    def finished(self) -> int:
        """Files that the last run embedded and stored."""
        return len(self._finished)

    def run(
        self,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
        *,
        only: Collection[str] | None = None,
    ) -> IndexReport:
        """Bring the store up to date.

        Args:
            on_progress: Told how far it has come, from the thread that runs this.
            stop: Ends the run after the chunk under way once it is set.
            only: Names of files and folders relative to the folder; nothing else is looked at. None = the whole folder.

        Raises:
            InputError: the folder is gone, before or while this runs. Nothing is removed for that.
            BackendError: the backend or the store failed. What was finished before is stored, as after an interruption.
        """
        self._on_progress = on_progress or _ignore
        self._stop = stop or threading.Event()
        self._finished = set()
        self.to_embed = 0
        self._check_folder()
        self._stored = self._store.files(self._root, names=only)
        plan = self._make_plan(only)
        self.to_embed = len(plan.to_embed)
        removed = 0 if self._stopped else self._tidy(plan)
        self._refresh(plan)
        self._embed(plan)
        if not self._stopped:
            self._remove_failed(plan)
        return self._report(plan, removed)

    @property
    def _stopped(self) -> bool:
        return self._stop.is_set()

    def _check_folder(self) -> None:
        """Raise `InputError` if there is nothing where the folder was: a drive that was unplugged, and not a request to
        forget everything.
        """
        kept = "what the store holds of it is kept"
        try:
            with os.scandir(self._root) as found:
                empty = next(found, None) is None
        except OSError as error:
            raise InputError(f"the folder {self._root} cannot be read ({error.strerror}); {kept}") from error
        if empty and self._store.files(self._root):
            raise InputError(f"the folder {self._root} is empty (a drive that is not connected?); {kept}")

    # Finding out what to do

    def _make_plan(self, only: Collection[str] | None) -> Plan:
        """Compare the folder with what is stored: size and time first, the content's digest where they differ."""
        plan = Plan()
        present = set()
        for file in scan(self._root, exclude=self._exclude, unread=plan.unread, only=only):
            if self._stopped:
                return plan
            # A file may vanish or be locked between the scan and here.
            try:
                self._add_to_plan(file, plan)
            except OSError as error:
                plan.failed[file.name] = error.strerror or str(error)
                if not isinstance(error, FileNotFoundError):
                    plan.kept.add(file.name)
            present.add(file.name)
            self._on_progress(IndexProgress("scanning", len(present), None))
        gone = self._stored.keys() - present
        plan.vanished = sorted(name for name in gone if not is_below(name, plan.unread))
        return plan

    def _add_to_plan(self, file: SourceFile, plan: Plan) -> None:
        before = self._stored.get(file.name)
        now = read_stamp(file.path)
        same = before is not None and before.is_complete and before.stamp.is_unchanged(now)
        if same:
            plan.unchanged += 1
        else:
            # Only now is the content read: size and time of most files of a second run agree.
            now = replace(now, sha256=file_digest(file.path))
            same = _sort_in(file, now, before, plan)
        if same and before is not None and before.facts < FACTS_VERSION:
            plan.to_refresh.append(file)

    # Doing it

    def _tidy(self, plan: Plan) -> int:
        """Note new times, and remove what vanished; how many files that were."""
        for file, now in plan.touched:
            self._store.touch(self._stored[file.name], now)
        if not plan.vanished or self._keep_vanished:
            return 0
        self._check_folder()
        for name in plan.vanished:
            self._store.remove(self._stored[name].points)
        return len(plan.vanished)

    def _refresh(self, plan: Plan) -> None:
        """Write the facts of unchanged files of an older store."""
        for start in range(0, len(plan.to_refresh), FILES_PER_REFRESH):
            if self._stopped:
                plan.to_refresh = plan.to_refresh[:start]
                return
            some = plan.to_refresh[start : start + FILES_PER_REFRESH]
            self._store.write_facts([(self._stored[file.name], file, self._facts(file)) for file in some])
            self._on_progress(IndexProgress("refreshing", start + len(some), len(plan.to_refresh)))

    def _facts(self, file: SourceFile) -> ImageFacts | None:
        return read_facts(file.path, sources=self._encoder.sources) if file.modality == "image" else None

    def _embed(self, plan: Plan) -> None:
        self._on_progress(IndexProgress("embedding", 0, self.to_embed))
        sizer = ChunkSizer()
        for chunk in self._split_chunks(plan, sizer):
            with sizer.measure():
                self._embed_chunk(chunk, plan)
            if plan.failed:
                self._check_folder()
            done = len(self._finished | (plan.failed.keys() - plan.kept))
            self._on_progress(IndexProgress("embedding", done, self.to_embed))
            if self._stopped:
                return

    def _split_chunks(self, plan: Plan, sizer: ChunkSizer) -> Iterator[list[Entry]]:
        """Entries of whole files, about `sizer.size` at a time; files that cannot be read go to `plan.failed`."""
        chunk: list[Entry] = []
        for file, now in plan.to_embed:
            if self._stopped:
                return
            try:
                chunk += self._make_entries(file, now)
            except (InputError, OSError) as error:
                plan.failed[file.name] = str(error)
            # A file is never split between chunks: it is stored whole or not at all.
            if len(chunk) >= sizer.size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _make_entries(self, file: SourceFile, now: Stamp) -> list[Entry]:
        """One entry for an image, one per passage for a text. Raises `InputError` for a blank or undecodable text."""
        # An image is decoded by the encoder, several at a time; a text is read here, since it has to be split.
        if file.modality == "image":
            return [Entry(file, now, facts=self._facts(file))]
        texts = split_passages(read_text(file.path))
        if not texts:
            raise InputError("the file is blank")
        return [Entry(file, now, text, number, len(texts)) for number, text in enumerate(texts)]

    def _embed_chunk(self, chunk: Sequence[Entry], plan: Plan) -> None:
        """Embed a chunk and store it; a file with an entry that cannot be embedded goes to `plan.failed`."""
        items: list[dict[str, Any]] = [
            {"image": entry.file.path} if entry.text is None else {"text": entry.text} for entry in chunk
        ]
        try:
            # "skip" in every case: one unreadable photo must not end the indexing of a thousand.
            rows = self._encoder.encode(items, on_error="skip")
        except (JinaClipError, KeyboardInterrupt) as error:
            # What the encoder finished before it stopped has been paid for, so it is stored.
            partial = getattr(error, "partial", None)
            if partial is not None:
                self._keep(chunk, partial)
            raise
        for position, reason in self._encoder.last_errors.items():
            file = chunk[position].file
            plan.failed[file.name] = reason.message.removeprefix(f"{file.path}: ")
        self._keep(chunk, rows)

    def _keep(self, chunk: Sequence[Entry], rows: Vectors) -> None:
        """Store the files of a chunk of which every vector is there, in place of their older state."""
        incomplete = {entry.file for entry, row in zip(chunk, rows, strict=True) if np.isnan(row).any()}
        positions = [number for number, entry in enumerate(chunk) if entry.file not in incomplete]
        entries = [chunk[number] for number in positions]
        if not entries:
            return
        self._store.put(self._root, entries, rows[positions], self._model)
        # Afterwards, so that a file can be found all the time: a changed text may have fewer passages than it had.
        complete = {entry.file.name for entry in entries}
        before = {point for name in complete & self._stored.keys() for point in self._stored[name].points}
        self._store.remove(before - {make_point_id(self._root, entry) for entry in entries})
        self._finished |= complete

    def _remove_failed(self, plan: Plan) -> None:
        """Remove what is stored of files that changed into something unreadable."""
        failed = sorted((plan.failed.keys() & self._stored.keys()) - plan.kept)
        if failed:
            self._check_folder()
        for name in failed:
            self._store.remove(self._stored[name].points)

    def _report(self, plan: Plan, removed: int) -> IndexReport:
        return IndexReport(
            added=sum(file.name in self._finished for file, _ in plan.new),
            updated=sum(file.name in self._finished for file, _ in plan.changed),
            unchanged=plan.unchanged + len(plan.touched),
            refreshed=len(plan.to_refresh),
            removed=removed,
            failed=plan.failed,
            unread=plan.unread,
            stopped=self._stopped,
        )


def _ignore(_progress: IndexProgress) -> None:
    """For callers who do not ask how far a run has come."""


def _sort_in(file: SourceFile, now: Stamp, before: StoredFile | None, plan: Plan) -> bool:
    """Put a file whose size or time is new where it belongs; whether its content is as it was."""
    if before is None:
        plan.new.append((file, now))
    elif before.is_complete and before.stamp.sha256 == now.sha256:
        plan.touched.append((file, now))
        return True
    else:
        plan.changed.append((file, now))
    return False


def is_below(name: str, folders: Collection[str]) -> bool:
    """Whether a file lies in one of these folders, at any depth: one that cannot be read now may be back tomorrow."""
    return any(parent.as_posix() in folders for parent in PurePosixPath(name).parents)
