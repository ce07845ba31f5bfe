"""Parsing what a user passes. Text is always text; only an explicit image is ever opened."""

from __future__ import annotations

import inspect
import io
import os
import re
from collections import deque
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from .errors import ImageError, InputError
from .images.encoded import EncodedImage, InputImage, PixelImage
from .images.objects import Readable, is_image_object, is_row, is_stream, read_stream, simplify
from .images.opening import is_base64, is_name, open_data_uri, open_local, path_of_file_url
from .images.rendering import Rendering
from .images.sources import SourcePolicy, check_path, show_path, show_url

Parsed: TypeAlias = "str | InputImage | InputError"
"""A parsed item, or the reason why it cannot be parsed."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]+)://")


@dataclass(frozen=True, kw_only=True)
class InputParser:
    """Turns what a user passed into texts and images. Nothing is opened here."""

    sources: SourcePolicy = field(default_factory=SourcePolicy)
    rendering: Rendering = field(default_factory=Rendering)

    def image(self, given: Any) -> InputImage:
        """The image that `given` means (see `types.ImageInput`). Raises `ImageError`."""
        if isinstance(given, InputImage):
            return given
        given = given if isinstance(given, (str, bytes)) else simplify(given)
        if isinstance(given, str):
            return self._from_string(given)
        if isinstance(given, os.PathLike):
            return self._from_path(os.fsdecode(given))
        if isinstance(given, (bytes, bytearray, memoryview)):
            return self._from_bytes(bytes(given))  # copies what the caller may change later, and bytes for nothing
        if isinstance(given, np.ndarray):
            return PixelImage(_check_array(given), rendering=self.rendering, max_pixels=self.sources.max_pixels)
        if _is_pil(given):
            return PixelImage(given, rendering=self.rendering, max_pixels=self.sources.max_pixels)
        if isinstance(given, Readable):
            return self._from_object(given)
        if is_row(given):
            return self._from_row(given)
        if is_stream(given):
            return self._from_stream(given)
        raise ImageError(f"an image cannot be a {type(given).__name__}; {_IMAGE_KINDS}")

    def item(self, item: Any) -> str | InputImage:
        """The text or image of one item of `encode`. Raises `InputError`."""
        if not isinstance(item, Mapping):
            raise InputError(f"an item cannot be a {type(item).__name__}; {_ITEM_KINDS}")
        if "task" in item:  # a request has one task for all its texts, and ignoring it would give other vectors
            raise InputError("an item has no 'task'; use encode(items, task=...)")
        kind, image, words = item.get("type"), item.get("image"), item.get("text")
        if image is not None and words is not None:
            raise InputError("an item is either a text or an image, not both; make two items of it")
        if image is not None:
            return self.image(image)
        if is_row(item):
            return self._from_row(item)
        if kind == "image":  # LangChain's blocks and OpenAI's items come from messages, see `_from_link`
            return self._from_block(item)
        if kind in ("image_url", "input_image") or (words is None and item.get("image_url") is not None):
            return self._from_image_url(item.get("image_url"))
        if "text" in item:
            return check_text(words)
        raise InputError(f"an item with the keys {', '.join(map(repr, item)) or '(none)'}; {_ITEM_KINDS}")

    def _from_block(self, block: Mapping[str, Any]) -> InputImage:
        """A LangChain content block: `url` or `base64`, or the older `source_type` with `url` or `data`."""
        if block.get("url") is not None:
            return self._from_link(block["url"])
        encoded = block.get("base64") if block.get("base64") is not None else block.get("data")
        if encoded is not None:
            return self._from_base64(encoded)
        if block.get("file_id") is not None:
            raise ImageError("an image block with a file_id cannot be read here; pass its url or base64")
        raise ImageError(f"an image block without url or base64; {_ITEM_KINDS}")

    def _from_image_url(self, linked: Any) -> InputImage:
        return self._from_link(linked.get("url") if isinstance(linked, Mapping) else linked)

    def _from_link(self, link: Any) -> InputImage:
        """A content block's URL: it comes from a message, so it never names a file."""
        if not isinstance(link, str) or not link.lower().startswith(("http://", "https://", "data:")):
            raise ImageError('an image block\'s URL must start with http://, https:// or data:; use {"image": path}')
        return self._from_string(link)

    def _from_base64(self, encoded: Any) -> InputImage:
        if not isinstance(encoded, str):
            raise ImageError(f"base64 of an image block must be a str, not {type(encoded).__name__}")
        uri = encoded if encoded.startswith("data:") else f"data:;base64,{encoded}"
        return self._from_data_uri(uri)

    def _from_string(self, given: str) -> InputImage:
        bare = given.strip()  # what was read from a file or copied may end in a line break
        if bare[:5].lower() == "data:":
            return self._from_data_uri(given.lstrip())  # whose length is checked as it was given
        scheme = _SCHEME.match(bare)
        if scheme is None:
            return self._from_path(given)
        if scheme[1].lower() in ("http", "https"):
            return self._from_url(bare)
        if scheme[1].lower() == "file":
            return self._from_path(path_of_file_url(bare))
        raise ImageError(f"{show_url(bare)}: {scheme[1]}:// is not fetched here; open it yourself and pass the bytes")

    def _from_bytes(self, data: bytes, name: str | None = None) -> InputImage:
        if data[:5].lower() == b"data:":
            return self._from_data_uri(data.decode("ascii", "replace"))
        if is_base64(data):
            return self._from_data_uri(f"data:;base64,{data.decode('ascii')}")
        if is_name(data):
            raise ImageError(f"{len(data)} bytes that read like a path or URL; pass it as a str: data.decode()")
        return self._encoded_image(partial(io.BytesIO, data), keep=True, name=name)

    def _from_row(self, row: Mapping[str, Any]) -> InputImage:
        """A row of `datasets` or of its Parquet files. The path beside bytes only names them."""
        data, path = row.get("bytes"), row.get("path")
        if isinstance(data, str):
            return self._from_base64(data)
        if isinstance(data, (bytes, bytearray, memoryview)):
            return self._from_bytes(bytes(data), show_path(path) if isinstance(path, str) and path else None)
        if data is not None:
            raise ImageError(f"'bytes' of a row must be bytes, not {type(data).__name__}")
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise ImageError("a row of which neither 'bytes' nor 'path' says anything")
        return self.image(path)

    def _from_object(self, readable: Readable) -> InputImage:
        named = readable.name
        name = None if named is None else show_url(named) if "://" in named else show_path(named)
        return self._encoded_image(partial(readable.open, self.sources.max_bytes), name=name, keep=True)

    def _from_path(self, path: str) -> InputImage:
        check_path(path)
        return self._encoded_image(partial(open_local, path, self.sources), name=show_path(path))

    def _from_url(self, url: str) -> InputImage:
        self.sources.check_url(url)
        # Only whoever connects can check where a name leads, so a strict policy leaves no URL to a service. Nor does it
        # get one where colours are to be other than the service would make them.
        fetched_here = self.sources.direct_only or not self.rendering.is_published
        for_service = None if fetched_here else url
        source = partial(_open_url, url, self.sources)
        return self._encoded_image(source, name=show_url(url), url=for_service, address=url, keep=True)

    def _from_data_uri(self, uri: str) -> InputImage:
        self.sources.check_data_uri(uri)
        return self._encoded_image(partial(open_data_uri, uri), keep=True)

    def _from_stream(self, stream: Any) -> InputImage:
        if inspect.iscoroutinefunction(stream.read):
            raise ImageError(f"{type(stream).__name__} reads asynchronously; await its read() and pass the bytes")
        return self._encoded_image(partial(_open_stream, stream, self.sources.max_bytes), keep=True)

    def _encoded_image(self, source: Callable[[], BinaryIO], **about: Any) -> EncodedImage:
        return EncodedImage(source, rendering=self.rendering, max_pixels=self.sources.max_pixels, **about)


_IMAGE_KINDS = (
    "pass a path, an http(s) URL, a data URI, bytes, a binary file object, a PIL image or a uint8 array (H, W, 3)"
)
_ITEM_KINDS = 'an item is {"text": str}, {"image": image}, an image content block or an image_url item'


def check_text(given: Any) -> str:
    """`given` if it is a text that can be sent anywhere. Raises `InputError`."""
    if not isinstance(given, str):
        raise InputError(f"a text must be a str, not {type(given).__name__}")
    check_unicode(given)
    # A subclass (NumPy's `str_`, an enum) may print and compare as something else than its text.
    return given if type(given) is str else str.__str__(given)


def check_unicode(text: str) -> None:
    """Raise `InputError` for half of a surrogate pair, which no tokenizer reads and no JSON in UTF-8 can carry."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text with a lone surrogate at character {error.start}, which is not valid Unicode; "
            "repair it with text.encode('utf-8', 'replace').decode()"
        ) from None


def one_or_many_texts(texts: Any) -> tuple[Sequence[Any], bool]:
    """The texts as a sequence, and whether there was just one. Raises `InputError`."""
    if isinstance(texts, str):
        return [texts], True
    if isinstance(texts, (bytes, bytearray, memoryview, Mapping)) or not isinstance(texts, Iterable):
        raise InputError(f"expected a str or a sequence of them, not {type(texts).__name__}")
    return _as_sequence(texts), False


def one_or_many_images(images: Any) -> tuple[Sequence[Any], bool]:
    """The images as a sequence, and whether there was just one. Raises `InputError`."""
    single = isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview)) or _is_pil(images)
    single = single or is_image_object(images)
    if single or is_stream(images) or (isinstance(images, np.ndarray) and _one_array(images)):
        return [images], True
    if isinstance(images, Mapping):
        raise InputError("encode_image takes images; content blocks and items go to encode([...])")
    if not isinstance(images, Iterable):
        raise ImageError(f"an image cannot be a {type(images).__name__}; {_IMAGE_KINDS}")
    return _as_sequence(images), False


def one_text(text: Any, *, many: str) -> str:
    """`text` if it is one. Raises `InputError` for a list, naming the method `many` that takes it."""
    if not isinstance(text, str):
        raise InputError(f"expected one str, got {type(text).__name__}; use {many} for a list")
    return text


def text_list(texts: Any, *, single: str) -> list[str]:
    """The texts as a list. Raises `InputError` for one text, naming the method `single` that takes it."""
    listed, alone = one_or_many_texts(texts)
    if alone:
        raise InputError(f"expected a list of texts, got one {type(texts).__name__}; use {single}, or [text]")
    return list(listed)


def image_list(images: Any, *, single: str) -> list[Any]:
    """The images as a list. Raises `InputError` for one image, naming the method `single` that takes it."""
    listed, alone = one_or_many_images(images)
    if alone:
        raise InputError(f"expected a list of images, got one {type(images).__name__}; use {single}, or [image]")
    return list(listed)


def many_items(items: Any) -> Iterable[Any]:
    """`items` if it is an iterable of items. Raises `InputError`."""
    if isinstance(items, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(items, Iterable):
        raise InputError(f"expected a sequence of items, not one {type(items).__name__}; {_ITEM_KINDS}")
    if isinstance(items, AbstractSet) and not isinstance(items, (KeysView, ItemsView)):
        raise InputError("a set has no order, so its rows could not be told apart; pass a list")
    if _is_table(items):
        raise InputError(f"a {type(items).__name__} is a table, of which one column is meant: pass table[name]")
    if getattr(items, "ndim", 1) == 0:
        raise InputError("an array without a dimension is no list; pass [array.item()]")
    return items


def parse(values: Iterable[Any], parse_one: Callable[[Any], Any]) -> list[Parsed]:
    """`parse_one` applied to every value; an `InputError` takes the place of a value that it refuses."""
    # Not raised here: with `on_error="skip"` the other items are still embedded.
    parsed: list[Parsed] = []
    for value in values:
        try:
            parsed.append(parse_one(value))
        except InputError as error:  # noqa: PERF203
            parsed.append(error)
    return parsed


def parse_texts(values: Sequence[Any]) -> list[Parsed]:
    """`parse(values, check_text)`, without a Python loop where every value is valid."""
    if set(map(type, values)) <= {str}:
        with suppress(UnicodeEncodeError):
            deque(map(str.encode, values), maxlen=0)  # encodes every text and keeps none
            return list(values)  # a copy, since the caller may change the list during the call
    return parse(values, check_text)


def all_valid(parsed: Sequence[Parsed], *, alone: bool = False) -> list[Any]:
    """The texts or images. Raises the first `InputError` among them, with its index unless it stood `alone`."""
    for index, value in enumerate(parsed):
        if isinstance(value, InputError):
            raise value if alone else value.at(index)
    return list(parsed)


def _as_sequence(values: Iterable[Any]) -> Sequence[Any]:
    many_items(values)
    if isinstance(values, (list, tuple)):
        return values
    # Arrow's arrays give objects of their own when they are iterated.
    return list(values.to_pylist() if hasattr(values, "to_pylist") else values)


def _is_table(given: Any) -> bool:
    """Whether `given` is a table of pandas, Polars, Arrow or `datasets`; iterated, it gives names, columns or rows."""
    return any(hasattr(type(given), name) for name in ("columns", "column_names"))


def _one_array(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array is one image: a 4-D array is a stack of them, one of objects or strings a list."""
    return array.dtype.kind not in "OUS" and array.ndim != 4


def _is_pil(given: Any) -> bool:
    """Whether `given` is a PIL image; Pillow is not imported to find out."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(given).__mro__)


def _check_array(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return array
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        hint = "channels come last: array.transpose(1, 2, 0)"
    elif array.ndim == 3 and array.shape[2] == 4:
        hint = "drop the alpha channel: array[:, :, :3]"
    elif array.ndim == 2:
        hint = "repeat the grey channel: np.stack([array] * 3, axis=-1)"
    elif array.dtype.kind == "f":
        hint = "values from 0 to 1 become (array * 255).round().astype(np.uint8)"
    else:
        hint = "convert it, for example with PIL"
    raise ImageError(f"an array image must be uint8 (H, W, 3), not {array.dtype} {array.shape}; {hint}")


def _open_url(url: str, sources: SourcePolicy) -> BinaryIO:
    from .images.fetch import fetch  # an HTTP client, which most inputs do not need

    return io.BytesIO(fetch(url, policy=sources))


def _open_stream(stream: Any, limit: int) -> BinaryIO:
    return io.BytesIO(read_stream(stream, limit))
