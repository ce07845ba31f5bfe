"""`jina-clip index`: put a folder of images and texts into a vector store, and keep it up to date."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..collections.identity import CollectionModel
from ..collections.passages import split_passages
from ..collections.scan import SourceFile, Stamp, file_digest, read_stamp, read_text, resolve_folder, scan
from ..collections.store import DEFAULT_COLLECTION, Entry, FolderStore, StoredFile
from ..errors import InputError, JinaClipError
from ..types import Vectors
from .batches import ChunkSizer
from .messages import INCOMPLETE, OK
from .options import (
    add_model_options,
    add_output_options,
    address_options,
    open_encoder,
    open_output,
    vector_width,
)
from .output import Output, Progress, plural, warn_of_unread

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder


@dataclass
class Plan:
    """What a run has to do, found out without embedding anything."""

    new: list[tuple[SourceFile, Stamp]] = field(default_factory=list)
    changed: list[tuple[SourceFile, Stamp]] = field(default_factory=list)
    touched: list[tuple[SourceFile, Stamp]] = field(default_factory=list)
    """Their time changed, their content did not."""
    unchanged: int = 0
    vanished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """File to why it was left out."""
    unread: dict[str, str] = field(default_factory=dict)
    """File of another kind to why it is not read."""

    @property
    def left_out(self) -> dict[str, str]:
        """Every file that is not in the store, to the reason."""
        return {**self.unread, **self.failed}

    @property
    def to_embed(self) -> list[tuple[SourceFile, Stamp]]:
        """New and changed files, in the folder's order."""
        return sorted([*self.new, *self.changed], key=lambda pair: pair[0].name)


@dataclass
class Target:
    """Where vectors of a folder go."""

    store: FolderStore
    root: Path
    stored: dict[str, StoredFile]
    """What was there before."""
    model: CollectionModel
    finished: int = 0
    """Files stored by this run."""

    def keep(self, chunk: Sequence[Entry], rows: Vectors) -> None:
        """Store the files of a chunk of which every vector is there, in place of their older state."""
        incomplete = {entry.file for entry, row in zip(chunk, rows, strict=True) if np.isnan(row).any()}
        complete = [file for file in unique_files(chunk) if file not in incomplete]
        # Out with the old points first: a changed text may have fewer passages than it had.
        for file in complete:
            self.store.remove(self.stored[file.name].points if file.name in self.stored else ())
        positions = [number for number, entry in enumerate(chunk) if entry.file not in incomplete]
        if positions:
            self.store.put(self.root, [chunk[number] for number in positions], rows[positions], self.model)
        self.finished += len(complete)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip index`."""
    parser.add_argument("folder", help="folder of images and .txt or .md files, with its subfolders")
    add_store_options(parser)
    parser.add_argument("--keep-vanished", action="store_true", help="keep entries of files that are no longer there")
    parser.add_argument("--strict", action="store_true", help=f"exit with {INCOMPLETE} if a file had to be left out")
    add_model_options(parser)
    add_output_options(parser)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """`--store` and `--collection`."""
    parser.add_argument("--store", required=True, metavar="PATH", help="folder of the store, or URL of a Qdrant server")
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="collection in it (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Bring the store up to date with the folder."""
    out = open_output(args)
    root = resolve_folder(args.folder)
    with open_encoder(args) as encoder:
        model = CollectionModel.of(
            encoder.model,
            vector_width(encoder),
            backend=args.backend,
            address=address_options(args),
            colors=encoder.rendering.colors,
        )
        with FolderStore(args.store, collection=args.collection) as store:
            store.prepare(model)
            # A store inside the folder would index its own files.
            exclude = None if store.is_server else Path(args.store).expanduser().resolve()
            target = Target(store, root, store.files(root), model)
            unread: dict[str, str] = {}
            plan = make_plan(scan(root, exclude=exclude, unread=unread), target.stored)
            plan.unread = unread
            plan.vanished = [name for name in plan.vanished if not is_below(name, unread)]
            update(target, plan, encoder, out, keep_vanished=args.keep_vanished)
            print_report(out, store, plan, args, encoder)
    return INCOMPLETE if args.strict and plan.left_out else OK


def make_plan(found: Iterator[SourceFile], stored: dict[str, StoredFile]) -> Plan:
    """Compare the folder with what is stored: size and time first, the content's digest where they differ."""
    plan = Plan()
    present = set()
    for file in found:
        present.add(file.name)
        # A file may vanish or be locked between the scan and here.
        try:
            _add_to_plan(file, stored.get(file.name), plan)
        except OSError as error:
            plan.failed[file.name] = error.strerror or str(error)
    plan.vanished = sorted(stored.keys() - present)
    return plan


def is_below(name: str, folders: Collection[str]) -> bool:
    """Whether a file lies in one of these folders, at any depth: one that cannot be read now may be back tomorrow."""
    return any(parent.as_posix() in folders for parent in PurePosixPath(name).parents)


def _add_to_plan(file: SourceFile, before: StoredFile | None, plan: Plan) -> None:
    now = read_stamp(file.path)
    if before and before.is_complete and before.stamp.is_unchanged(now):
        plan.unchanged += 1
        return
    # Only now is the content read: size and time of most files of a second run agree.
    now = replace(now, sha256=file_digest(file.path))
    if before is None:
        plan.new.append((file, now))
    elif before.is_complete and before.stamp.sha256 == now.sha256:
        plan.touched.append((file, now))
    else:
        plan.changed.append((file, now))


def update(target: Target, plan: Plan, encoder: JinaClipEncoder, out: Output, *, keep_vanished: bool) -> None:
    """Carry out a plan. What is finished is stored at once, so neither an interruption nor an outage loses it."""
    for file, now in plan.touched:
        target.store.touch(target.stored[file.name], now)
    for name in () if keep_vanished else plan.vanished:
        target.store.remove(target.stored[name].points)
    try:
        with out.progress(len(plan.to_embed), "indexing") as bar:
            sizer = ChunkSizer()
            for chunk in split_chunks(plan, bar, sizer):
                with sizer.measure():
                    embed_chunk(target, chunk, encoder, plan)
                bar.advance(len(unique_files(chunk)))
        for name in plan.failed.keys() & target.stored.keys():  # it changed into something unreadable
            target.store.remove(target.stored[name].points)
    except (JinaClipError, KeyboardInterrupt) as error:
        remark = f"{target.finished} of {plural(len(plan.to_embed), 'file')} are in the store"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted: {remark}; the same command again goes on from there") from None
        out.note(f"{remark}; the same command again goes on from there")
        raise


def embed_chunk(target: Target, chunk: Sequence[Entry], encoder: JinaClipEncoder, plan: Plan) -> None:
    """Embed a chunk and store it; a file with an entry that cannot be embedded goes to `plan.failed`."""
    items: list[dict[str, Any]] = [
        {"image": entry.file.path} if entry.text is None else {"text": entry.text} for entry in chunk
    ]
    try:
        # "skip" in every case: one unreadable photo must not end the indexing of a thousand.
        rows = encoder.encode(items, on_error="skip")
    except (JinaClipError, KeyboardInterrupt) as error:
        # What the encoder finished before it stopped has been paid for, so it is stored.
        partial = getattr(error, "partial", None)
        if partial is not None:
            target.keep(chunk, partial)
        raise
    for position, reason in encoder.last_errors.items():
        file = chunk[position].file
        plan.failed[file.name] = reason.message.removeprefix(f"{file.path}: ")
    target.keep(chunk, rows)


def unique_files(chunk: Sequence[Entry]) -> list[SourceFile]:
    """The files of a chunk, in order."""
    return list(dict.fromkeys(entry.file for entry in chunk))


def split_chunks(plan: Plan, bar: Progress, sizer: ChunkSizer) -> Iterator[list[Entry]]:
    """Entries of whole files, about `sizer.size` at a time; files that cannot be read go to `plan.failed`."""
    chunk: list[Entry] = []
    for file, now in plan.to_embed:
        try:
            chunk += make_entries(file, now)
        except (InputError, OSError) as error:
            plan.failed[file.name] = str(error)
            bar.advance()
        # A file is never split between chunks: it is stored whole or not at all.
        if len(chunk) >= sizer.size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def make_entries(file: SourceFile, now: Stamp) -> list[Entry]:
    """One entry for an image, one per passage for a text. Raises `InputError` for a blank or undecodable text."""
    # An image is decoded by the encoder, several at a time; a text is read here, since it has to be split.
    if file.modality == "image":
        return [Entry(file, now)]
    texts = split_passages(read_text(file.path))
    if not texts:
        raise InputError("the file is blank")
    return [Entry(file, now, text, number, len(texts)) for number, text in enumerate(texts)]


def print_report(
    out: Output, store: FolderStore, plan: Plan, args: argparse.Namespace, encoder: JinaClipEncoder
) -> None:
    """Print what was done, for people or as JSON, and every file that was left out, by name."""
    for name, reason in sorted(plan.failed.items()):
        out.warn(f"left out {name}: {reason}")
    warn_of_unread(out, plan.unread)
    # A new or changed file that failed counts as left out, not as added or updated.
    failed = set(plan.failed)
    counts = {
        "added": sum(file.name not in failed for file, _ in plan.new),
        "updated": sum(file.name not in failed for file, _ in plan.changed),
        "unchanged": plan.unchanged + len(plan.touched),
        "removed": 0 if args.keep_vanished else len(plan.vanished),
        "left_out": len(plan.left_out),
    }
    images, texts = store.count("image"), store.count("text")
    out.line(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    out.line(f"The store {args.store} holds {plural(images, 'image')} and {plural(texts, 'passage')} of text.")
    out.result(
        {
            "store": args.store,
            "collection": args.collection,
            "model": encoder.model,
            "dimensions": encoder.dimensions,
            "files": counts,
            "images": images,
            "passages": texts,
            "failed": plan.left_out,
            "tokens": encoder.usage.total_tokens,
        }
    )
