"""What `jina-clip embed` is to embed: texts, lines of a file, images of folders, in order."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..collections.scan import file_modality, read_stamp, read_text, scan
from ..errors import InputError
from ..retrieval.fingerprint import VectorFingerprint
from .output import Output, warn_of_unread
from .vector_files import Source

STDIN = "-"


@dataclass
class Job:
    """What is to be embedded, and what turned out not to be."""

    sources: Sequence[Source]
    skip_errors: bool = False
    failed: dict[int, str] = field(default_factory=dict)
    """Row to why it was left out."""
    unread: dict[str, str] = field(default_factory=dict)
    """File of another kind in a folder to why it is not read; such files have no row."""


def gather_sources(args: argparse.Namespace, out: Output, unread: dict[str, str]) -> list[Source]:
    """Everything that the command line names, in order. Raises `InputError` if that is nothing or not there.

    Files of folders that are neither images nor texts and look like something to embed go to `unread`.
    """
    for text in args.items:
        if file_modality(text) == "image" and Path(text).is_file():
            out.note(f"note: {text} is embedded as words; for the image use --images {text}")
    # argparse cannot tell how options and words were interleaved, so the order is fixed: words, lines, images.
    sources = [Source("text", text) for text in args.items]
    sources += [Source("text", line) for line in _read_lines(args.texts)]
    for named in args.images:
        sources += _find_images(named, unread, must_exist=not args.skip_errors)
    if not sources:
        warn_of_unread(out, unread)
        raise InputError("nothing to embed: give texts, --texts FILE or --images FILE")
    return sources


def _read_lines(file: str | None) -> list[str]:
    if file is None:
        return []
    content = sys.stdin.read() if file == STDIN else read_text(Path(file).expanduser())
    return [line for line in content.splitlines() if line.strip()]


def _find_images(named: str, unread: dict[str, str], *, must_exist: bool) -> list[Source]:
    path = Path(named).expanduser()
    if named.startswith(("http://", "https://", "data:")) or path.is_file():
        return [Source("image", named)]
    if path.is_dir():
        folder, others = path.resolve(), dict[str, str]()
        found = [file for file in scan(folder, unread=others) if file.modality == "image"]
        unread.update({str(folder / name): reason for name, reason in others.items()})
        return [Source("image", str(file.path)) for file in found]
    if must_exist:
        raise InputError(f"--images {named}: there is no such file or folder")
    return [Source("image", named)]  # the encoder leaves it out, with the reason


def job_digest(job: Job, vectors: VectorFingerprint) -> str:
    """A digest of the model and of every input, files by size and time: only the same job may be continued."""
    content = hashlib.sha256(f"{vectors.model}{vectors.colors}{vectors.image_size or ''}".encode())
    for source in job.sources:
        # Size and time instead of content: hashing a folder of photos would take as long as decoding it.
        path = Path(source.input).expanduser() if source.kind == "image" else None
        state: Any = read_stamp(path) if path is not None and path.is_file() else ""
        content.update(f"{source.kind}\n{source.input}\n{state}\n".encode(errors="surrogatepass"))
    return content.hexdigest()
