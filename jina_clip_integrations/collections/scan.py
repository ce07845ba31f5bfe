"""A folder of files: which of them can be embedded, what they contain, whether they changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from ..errors import InputError
from ..images.decode import load_formats
from ..images.formats import unreadable_reason
from ..types import Modality

TEXT_EXTENSIONS = frozenset({".txt", ".md", ".markdown"})

STRAY = " ."
"""What copying and other systems leave at the end of a name, behind its extension."""

UNUSABLE_FORMATS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow recognises but cannot decode by itself."""

HASH_BLOCK_BYTES = 1 << 20
"""Read at a time, so that a large file never has to fit into memory."""


@dataclass(frozen=True)
class Stamp:
    """What tells whether a file changed: its size in bytes, its modification time, a digest of its content."""

    size: int
    mtime_ns: int
    sha256: str = ""

    def is_unchanged(self, other: Stamp) -> bool:
        """Whether size and time agree, so that the content need not be read."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


@dataclass(frozen=True)
class SourceFile:
    """A file of the folder that can be embedded."""

    path: Path
    """Absolute."""
    name: str
    """Relative to the folder, with forward slashes: the same on every system."""
    modality: Modality


def resolve_folder(folder: str) -> Path:
    """The absolute path of a folder. Raises `InputError` if there is none."""
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        raise InputError(f"{folder} is {'a file' if path.exists() else 'no folder'}; a folder is needed here")
    return path


def scan(
    root: Path,
    *,
    exclude: Path | None = None,
    unread: dict[str, str] | None = None,
    only: Collection[str] | None = None,
) -> Iterator[SourceFile]:
    """Images and texts below `root`, in a stable order, without hidden files and without the folder `exclude`.

    What looks like an image or a document and is not read goes to `unread`: name to why, and what to do about it. So do
    folders that may not be read. With `only`, names of files and folders relative to `root`, nothing else is looked at.
    """
    unread = {} if unread is None else unread
    for start in [root] if only is None else _starts(root, only, exclude):
        if start.is_dir() or start == root:
            yield from _walk(start, root, exclude, unread)
        elif os.path.lexists(start):
            yield from _classify(start, root, unread)


def _starts(root: Path, names: Collection[str], exclude: Path | None) -> Iterator[Path]:
    """The paths of these names, each once, without those that a scan of the whole folder would not come to."""
    for name in sorted(names):
        path, inside = root / name, PurePosixPath(name)
        folders = [root / folder for folder in inside.parents[:-1]]
        twice = any(folder.as_posix() in names for folder in inside.parents)
        hidden = any(part.startswith(".") for part in inside.parts)
        excluded = exclude is not None and path.is_relative_to(exclude)
        # os.walk follows no links to folders.
        linked = any(folder.is_symlink() for folder in folders) or (path.is_symlink() and path.is_dir())
        if not (twice or hidden or excluded or linked):
            yield path


def _walk(start: Path, root: Path, exclude: Path | None, unread: dict[str, str]) -> Iterator[SourceFile]:
    def note_folder(error: OSError) -> None:
        unread[_relative(Path(error.filename), root)] = f"a folder that cannot be read ({error.strerror})"

    for folder, subfolders, names in os.walk(start, onerror=note_folder):
        here = Path(folder)
        # os.walk enters what is left in this list, in its order.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and here / name != exclude)
        for name in sorted(names):
            if not name.startswith("."):
                yield from _classify(here / name, root, unread)


def _classify(path: Path, root: Path, unread: dict[str, str]) -> Iterator[SourceFile]:
    """The file if it can be embedded."""
    modality = file_modality(path.name)
    if modality and _would_block(path):
        unread[_relative(path, root)] = "not a regular file"
    elif modality:
        yield SourceFile(path, _relative(path, root), modality)
    elif reason := unreadable_reason(path.name.rstrip(STRAY), readable=readable_formats()):
        unread[_relative(path, root)] = reason


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _would_block(path: Path) -> bool:
    """Whether this is a pipe, a socket or a device, which may never give a byte; what is gone is found out later."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def file_modality(name: str) -> Modality | None:
    """What a file holds, by its extension; None for what cannot be embedded."""
    extension = os.path.splitext(name.rstrip(STRAY))[1].lower()
    if extension in TEXT_EXTENSIONS:
        return "text"
    return "image" if extension in list_image_extensions() else None


def readable_formats() -> Collection[str]:
    """What this Pillow opens, by its own names of formats."""
    from PIL import Image

    load_formats()
    return Image.OPEN.keys()


@cache
def list_image_extensions() -> frozenset[str]:
    """Extensions of the images that Pillow can read."""
    from PIL import Image

    load_formats()
    # Asked of Pillow instead of listed here, so that formats of newer versions and of plugins count.
    known = Image.registered_extensions()
    return frozenset(e for e, name in known.items() if name in Image.OPEN and name not in UNUSABLE_FORMATS)


def read_stamp(path: Path) -> Stamp:
    """Size and time of a file, without reading it."""
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            content.update(block)
    return content.hexdigest()


def read_text(path: Path) -> str:
    """A text file's content. Raises `InputError` if it is not UTF-8."""
    try:
        # A byte order mark, which Windows editors write, is not part of the text.
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); convert it first") from error
