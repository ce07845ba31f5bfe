"""`jina-clip index`: put a person's folder of pictures and texts into a vector store, and keep it up to date."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .folder import FoundFile, Stamp, digest, existing_folder, read_text, scan, stamp
from .identity import ModelMark, mark_of
from .messages import INCOMPLETE, OK
from .options import add_model_options, add_output_options, open_encoder, output_of
from .output import Output, Progress, plural
from .passages import passages
from .store import DEFAULT_COLLECTION, Entry, FolderStore, StoredFile

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

ENTRIES_AT_A_TIME = 128
"""Pictures and passages that are embedded and then stored together; what an interruption can lose."""


@dataclass
class Plan:
    """What a run has to do, found out without embedding anything."""

    new: list[tuple[FoundFile, Stamp]] = field(default_factory=list)
    changed: list[tuple[FoundFile, Stamp]] = field(default_factory=list)
    touched: list[tuple[FoundFile, Stamp]] = field(default_factory=list)
    """Their time changed, their content did not."""
    unchanged: int = 0
    vanished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """File to why it was left out."""

    @property
    def to_embed(self) -> list[tuple[FoundFile, Stamp]]:
        """New and changed files, in the folder's order."""
        return sorted([*self.new, *self.changed], key=lambda pair: pair[0].name)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip index`."""
    parser.add_argument("folder", help="folder of pictures and .txt or .md files, with its subfolders")
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
    out = output_of(args)
    root = existing_folder(args.folder)
    with open_encoder(args) as encoder:
        mark = mark_of(args.model, encoder.dimensions, backend=args.backend, base_url=args.base_url)
        with FolderStore(args.store, collection=args.collection) as store:
            store.prepare(mark)
            stored = store.files(root)
            leave_out = None if store.is_server else Path(args.store).expanduser().resolve()
            plan = make_plan(scan(root, leave_out=leave_out), stored)
            update(store, root, plan, stored, encoder, mark, out, keep_vanished=args.keep_vanished)
            report(out, store, plan, args, encoder)
    return INCOMPLETE if args.strict and plan.failed else OK


def make_plan(found: Iterator[FoundFile], stored: dict[str, StoredFile]) -> Plan:
    """Compare the folder with what is stored: size and time first, the content's digest where they differ."""
    plan = Plan()
    there = set()
    for file in found:
        there.add(file.name)
        try:
            _place(file, stored.get(file.name), plan)
        except OSError as error:
            plan.failed[file.name] = error.strerror or str(error)
    plan.vanished = sorted(stored.keys() - there)
    return plan


def _place(file: FoundFile, before: StoredFile | None, plan: Plan) -> None:
    now = stamp(file.path)
    if before and before.complete and before.stamp.same_moment(now):
        plan.unchanged += 1
        return
    now = replace(now, sha256=digest(file.path))
    if before is None:
        plan.new.append((file, now))
    elif before.complete and before.stamp.sha256 == now.sha256:
        plan.touched.append((file, now))
    else:
        plan.changed.append((file, now))


def update(
    store: FolderStore,
    root: Path,
    plan: Plan,
    stored: dict[str, StoredFile],
    encoder: JinaClipEncoder,
    mark: ModelMark,
    out: Output,
    *,
    keep_vanished: bool,
) -> None:
    """Carry out a plan. Every finished chunk is stored at once, so an interruption loses at most one."""
    for file, now in plan.touched:
        store.touch(stored[file.name], now)
    if not keep_vanished:
        for name in plan.vanished:
            store.remove(stored[name].points)
    done = 0
    try:
        with out.progress(len(plan.to_embed), "indexing") as bar:
            for chunk in chunks(plan, bar):
                rows = embed(encoder, chunk, plan)
                for file in dict.fromkeys(entry.file for entry in chunk):
                    store.remove(stored[file.name].points if file.name in stored else ())
                kept = [(entry, row) for entry, row in zip(chunk, rows, strict=True) if entry.file.name not in plan.failed]
                if kept:
                    store.put(root, [entry for entry, _ in kept], np.stack([row for _, row in kept]), mark)
                files = len({entry.file.name for entry in chunk})
                done += files
                bar.advance(files)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted: {done} of {plural(len(plan.to_embed), 'file')} are in the store; "
            "the same command again goes on from there"
        ) from None


def chunks(plan: Plan, bar: Progress) -> Iterator[list[Entry]]:
    """Entries of whole files, about `ENTRIES_AT_A_TIME` at a time; files that cannot be read go to `plan.failed`."""
    chunk: list[Entry] = []
    for file, now in plan.to_embed:
        try:
            chunk += entries_of(file, now)
        except (InputError, OSError) as error:
            plan.failed[file.name] = str(error)
            bar.advance()
        if len(chunk) >= ENTRIES_AT_A_TIME:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def entries_of(file: FoundFile, now: Stamp) -> list[Entry]:
    """One entry for a picture, one per passage for a text. Raises `InputError` for a blank or undecodable text."""
    if file.modality == "image":
        return [Entry(file, now)]
    texts = passages(read_text(file.path))
    if not texts:
        raise InputError("the file is blank")
    return [Entry(file, now, text, number, len(texts)) for number, text in enumerate(texts)]


def embed(encoder: JinaClipEncoder, entries: Sequence[Entry], plan: Plan) -> Any:
    """Vectors of the entries `(n, d)`; a file with an entry that cannot be embedded goes to `plan.failed`."""
    items = [{"image": entry.file.path} if entry.text is None else {"text": entry.text} for entry in entries]
    rows = encoder.encode(items, on_error="skip")
    for position, error in encoder.last_errors.items():
        plan.failed[entries[position].file.name] = getattr(error, "message", str(error))
    return rows


def report(out: Output, store: FolderStore, plan: Plan, args: argparse.Namespace, encoder: JinaClipEncoder) -> None:
    """What was done, for people or as JSON, and every file that was left out, by name."""
    for name, reason in sorted(plan.failed.items()):
        out.warn(f"left out {name}: {reason}")
    failed = set(plan.failed)
    counts = {
        "added": sum(file.name not in failed for file, _ in plan.new),
        "updated": sum(file.name not in failed for file, _ in plan.changed),
        "unchanged": plan.unchanged + len(plan.touched),
        "removed": 0 if args.keep_vanished else len(plan.vanished),
        "left_out": len(failed),
    }
    pictures, texts = store.count("image"), store.count("text")
    out.line(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    out.line(f"The store {args.store} holds {plural(pictures, 'picture')} and {plural(texts, 'passage')} of text.")
    out.result(
        {
            "store": args.store,
            "collection": args.collection,
            "model": args.model,
            "dimensions": encoder.dimensions,
            "files": counts,
            "pictures": pictures,
            "passages": texts,
            "failed": plan.failed,
            "tokens": encoder.usage.total_tokens,
        }
    )
