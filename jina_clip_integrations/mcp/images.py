"""Images for an agent: small ones of bounded size in results, whole files of bounded size as resources."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ..collections.folder import FolderCollection
from ..errors import ImageError, InputError, JinaClipError
from ..images.decode import open_header
from ..images.formats import media_type
from ..images.sources import SourcePolicy
from .names import hide_folder, show, thumbnail_uri, wire_name
from .schema import ImageFile
from .settings import DEFAULT_PIXELS, MAX_PIXELS, MIN_PIXELS
from .source import describe_failure

UNKNOWN_TYPE = "application/octet-stream"

F = TypeVar("F", bound=ImageFile)


@dataclass(frozen=True)
class Shown:
    """An image block: which file it shows, and the encoded image."""

    number: int
    """From 1, as in `ImageFile.image_block`."""
    data: bytes
    mime_type: str


@dataclass
class Gallery:
    """Adds the small images of files to a result, as many as were asked for and as many bytes as a result may have."""

    collection: FolderCollection
    max_bytes: int
    pixels: int = DEFAULT_PIXELS
    shown: list[Shown] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not MIN_PIXELS <= self.pixels <= MAX_PIXELS:
            raise InputError(f"image_pixels: {self.pixels} is not between {MIN_PIXELS} and {MAX_PIXELS}")

    def show(self, names: Sequence[str], files: Sequence[F]) -> list[F]:
        """`files`, which describe the files `names`, with the number of the image block of each or why it has none."""
        return [self._show(name, file) for name, file in zip(names, files, strict=True)]

    def read(self, name: str) -> bytes:
        """The small image of a file. Raises `JinaClipError`, with the name."""
        return self.collection.thumbnail(name, self.pixels)

    def _show(self, name: str, file: F) -> F:
        try:
            data = self.read(name)
            self._check_room(data)
        except (JinaClipError, OSError) as error:  # one image that is gone costs no other hit
            return file.model_copy(update={"problem": hide_folder(describe_failure(error), self.collection.root)})
        number = len(self.shown) + 1
        self.shown.append(Shown(number, data, media_type(data) or UNKNOWN_TYPE))
        return file.model_copy(update={"image_block": number})

    def _check_room(self, data: bytes) -> None:
        if sum(len(image.data) for image in self.shown) + len(data) > self.max_bytes:
            raise InputError(
                f"more than the {self.max_bytes:,} bytes that the images of one result may have; ask for fewer images "
                "or for smaller ones (image_pixels), or read its resource"
            )


def read_file(collection: FolderCollection, name: str, max_bytes: int) -> bytes:
    """The file of an indexed image, as it is. Raises `ImageError` for one that is too large, or no image any more."""
    path = collection.image_path(name)
    # Opened under the policy: what the path leads to may have changed since it was checked.
    policy = SourcePolicy.agent(collection.root, max_bytes=max_bytes)
    size = path.stat().st_size
    if size > max_bytes:
        raise ImageError(
            f"{show(wire_name(name))} has {size:,} bytes, more than the {max_bytes:,} that are handed out; "
            f"{thumbnail_uri(name)} is a small version of it"
        )
    with policy.open_path(str(path)) as file:
        data = file.read(max_bytes)
    if image_type(data) is None:
        raise ImageError(f"{show(wire_name(name))}: this file is no image any more")
    return data


def image_type(data: bytes) -> str | None:
    """The media type of an encoded image; None for anything else."""
    try:
        with open_header(io.BytesIO(data)) as image:
            return media_type(data) or image.get_format_mimetype() or UNKNOWN_TYPE
    except Exception:  # decoders raise anything at all on bad data
        return None
