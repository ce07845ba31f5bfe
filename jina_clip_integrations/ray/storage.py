"""Files of a job, on a local disk or in an object store, through Arrow's filesystems."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.fs as arrow_fs

from ..credentials import public_url
from ..errors import InputError

RENAMES = frozenset({"local", "hdfs", "mock"})
"""Filesystems that rename a file at once. In the others, object stores, a rename is a copy, but a file that is written
is not there before it is complete."""


class Storage:
    """A folder in a filesystem: `photos/`, `s3://bucket/photos`."""

    def __init__(self, filesystem: arrow_fs.FileSystem, root: str, name: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.name = name
        """For messages, and in front of the names of files."""

    @classmethod
    def of(cls, place: str | os.PathLike[str], filesystem: arrow_fs.FileSystem | None = None) -> Storage:
        """The storage that a path or address means. Raises `InputError` for an address that cannot be opened."""
        given = os.fspath(place)
        if filesystem is not None:
            return cls(filesystem, given, given)
        if "://" not in given:
            path = os.path.abspath(os.path.expanduser(given))
            return cls(arrow_fs.LocalFileSystem(), path, path)
        try:
            opened, root = arrow_fs.FileSystem.from_uri(given)
        except (pa.ArrowInvalid, OSError, ValueError) as error:
            raise InputError(f"{public_url(given)} cannot be opened: {error}") from error
        local = isinstance(opened, arrow_fs.LocalFileSystem)
        return cls(opened, root, root if local else public_url(given).rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether files are those of this machine."""
        return isinstance(self.filesystem, arrow_fs.LocalFileSystem)

    @property
    def renames(self) -> bool:
        """Whether a rename is one step."""
        base = self.filesystem
        while isinstance(base, arrow_fs.SubTreeFileSystem):
            base = base.base_fs
        return base.type_name in RENAMES

    def path(self, name: str) -> str:
        """The path of the file `name` in the filesystem; the folder's own for an empty name."""
        return f"{self.root}/{name}" if name else self.root

    def show(self, name: str) -> str:
        """What to call a file in messages and tables."""
        return f"{self.name}/{name}" if name else self.name

    def state(self, name: str = "") -> arrow_fs.FileInfo:
        """Kind, size in bytes and time of a file."""
        return self.filesystem.get_file_info(self.path(name))

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return bool(self.state(name).type == arrow_fs.FileType.File)

    def list(self, folder: str = "") -> list[arrow_fs.FileInfo]:
        """Files and folders directly in `folder`, in the order of their names; none where it is missing."""
        selector = arrow_fs.FileSelector(self.path(folder), allow_not_found=True)
        return sorted(self.filesystem.get_file_info(selector), key=lambda info: str(info.base_name))

    def read(self, name: str) -> bytes:
        """The content of a small file."""
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def make_folder(self, name: str = "") -> None:
        """Make a folder and those above it, where there are folders."""
        self.filesystem.create_dir(self.path(name), recursive=True)

    def put(self, name: str, content: bytes) -> None:
        """Write a small file: all of it is there, or what was there before."""
        self.put_with(name, lambda file: file.write(content))

    def put_with(
        self, name: str, write: Callable[[BinaryIO], Any], *, unless: Callable[[], bool] | None = None
    ) -> None:
        """Let `write` fill a temporary file, which becomes `name` in one step once it is complete.

        `unless` is asked before that step: where it says so, the file is thrown away instead.
        """
        if not self.is_local:
            self._put_remote(name, write, unless)
            return
        target = Path(self.path(name))
        # Names of their own, since an actor that outlived its driver may be writing the same file.
        fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with fresh.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())  # or a power failure could leave the new name with nothing behind it
            if unless is None or not unless():
                fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)

    def _put_remote(self, name: str, write: Callable[[BinaryIO], Any], unless: Callable[[], bool] | None) -> None:
        # Spooled on this machine: a stream to an object store that ends with an error might leave a part of the file.
        with tempfile.TemporaryFile() as spool:
            write(spool)
            spool.seek(0)
            if unless is not None and unless():
                return
            target = self.path(name)
            path = target if not self.renames else f"{target}.{uuid.uuid4().hex[:8]}.tmp"
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(spool.read())  # at once: there is no moment at which a part could be closed
            if path != target:
                self.filesystem.move(path, target)

    def sweep(self, folder: str) -> None:
        """Delete temporary files that killed workers left in a folder."""
        for info in self.list(folder):
            if str(info.base_name).startswith(".") and str(info.base_name).endswith(".tmp"):
                with contextlib.suppress(OSError):
                    self.filesystem.delete_file(info.path)
