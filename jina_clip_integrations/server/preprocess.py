"""Preprocessing, before a request is queued: images are fetched and measured, texts checked, tokens counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from ..catalog import ModelSpec
from ..errors import ImageError, InputError
from ..images.encoded import EncodedImage
from ..images.formats import media_type
from ..inputs import InputParser, check_text
from ..tokens import image_tokens
from .errors import RequestError, invalid_input, strip_image_label
from .items import ImageUrl, InlineImage, Text
from .responses import TokenUsage
from .schema import Request
from .settings import ServerSettings

CHECKING_THREADS = 4
"""Threads that decode base64 and read the headers of images."""

FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PNM, ICO"
"""Formats named in messages. HEIC passes as well where `pillow-heif` is installed."""

CountTokens = Callable[[Sequence[str], "str | None"], Awaitable["list[int]"]]

T = TypeVar("T")


@dataclass
class PreprocessedRequest:
    """The inputs of one request, ready to be embedded, by their position in the request."""

    texts: dict[int, str] = field(default_factory=dict)
    images: dict[int, bytes] = field(default_factory=dict)
    """Encoded images. Decoding is left to the backend, so that a full queue holds files, not pixels."""
    tokens: dict[int, int] = field(default_factory=dict)
    """Tokens of every input."""

    def usage(self) -> TokenUsage:
        """Tokens in the order of the request."""
        per_input = [self.tokens[position] for position in sorted(self.tokens)]
        return TokenUsage(per_input, image_tokens=sum(self.tokens[position] for position in self.images))


class Preprocessor:
    """Turns the items of a request into inputs, in two pools of threads."""

    def __init__(
        self, spec: ModelSpec, settings: ServerSettings, *, count_tokens: CountTokens, max_length: int
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._count_tokens = count_tokens
        self._max_length = max_length
        self._parser = InputParser(sources=settings.source_policy)
        # Fetching has a pool of its own: a slow host delays only the requests that name it.
        self._fetchers = ThreadPoolExecutor(settings.max_fetches, "jina-clip-fetch")
        self._checkers = ThreadPoolExecutor(CHECKING_THREADS, "jina-clip-check")

    def close(self) -> None:
        """Shut the pools down without waiting for fetches in progress."""
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        self._checkers.shutdown(wait=False, cancel_futures=True)

    async def preprocess(self, request: Request) -> PreprocessedRequest:
        """The inputs of `request`. Raises `RequestError` that names the first input at fault."""
        prepared = PreprocessedRequest()
        images: dict[int, ImageUrl | InlineImage] = {}
        for position, item in enumerate(request.items):
            if isinstance(item, Text):
                prepared.texts[position] = self._check_text(position, item.value)
            else:
                images[position] = item
        prepared.images = dict.fromkeys(images, b"")  # in the request's order, whichever is loaded first
        loads = [self._load_image(prepared, position, item) for position, item in images.items()]
        await gather_in_order([self._count_texts(prepared, request), *loads])
        return prepared

    # Texts

    def _check_text(self, position: int, text: str) -> str:
        # Before the tokenizer, whose time grows with the text even where the result is truncated.
        limit = self._settings.max_text_characters
        if len(text) > limit:
            message = f"a text of {len(text):,} characters, more than the {limit:,} that this server takes"
            raise invalid_input(position, message, code="INPUT_TEXT_TOO_LONG", status=413)
        try:
            return check_text(text)
        except InputError as error:
            raise invalid_input(position, error.message, code="INPUT_INVALID_TEXT") from error

    async def _count_texts(self, prepared: PreprocessedRequest, request: Request) -> None:
        """Count the tokens of all texts. Raises `RequestError` for a text over the limit, unless `truncate` is set."""
        if not prepared.texts:
            return
        counts = await self._count_tokens(list(prepared.texts.values()), request.task)
        for position, count in zip(prepared.texts, counts, strict=True):
            if count > self._max_length and not request.truncate:
                raise self._token_limit_error(position, count)
            # What the model reads is what is charged, as at the hosted service.
            prepared.tokens[position] = min(count, self._max_length)

    def _token_limit_error(self, position: int, count: int) -> RequestError:
        limit = f"{count:,} tokens, more than the model's {self._max_length:,}"
        message = f"{limit}; shorten the text or send truncate=true"
        return invalid_input(position, message, code="INPUT_TOKEN_LIMIT_EXCEEDED")

    # Images

    async def _load_image(self, prepared: PreprocessedRequest, position: int, item: ImageUrl | InlineImage) -> None:
        """Load one image and count its tokens."""
        if isinstance(item, InlineImage):
            self._check_encoded_size(position, item.encoded)
        pool = self._fetchers if isinstance(item, ImageUrl) else self._checkers
        loading = asyncio.get_running_loop().run_in_executor(pool, partial(self._load, position, item))
        prepared.images[position], prepared.tokens[position] = await loading

    def _check_encoded_size(self, position: int, encoded: str) -> None:
        limit = self._settings.max_image_bytes
        if len(encoded) * 3 // 4 > limit + 1024:  # 1024: the header of a data URI
            message = f"an image of more than {limit:,} bytes"
            raise invalid_input(position, message, code="INPUT_IMAGE_TOO_LARGE", status=413)

    def _load(self, position: int, item: ImageUrl | InlineImage) -> tuple[bytes, int]:
        try:
            image = cast(EncodedImage, self._parser.item(_to_content_block(item)))
            tokens, data = self._count_tiles(image.size()), image.read()
            # Pillow has read the header, but its plug-ins read more than a server should decode for strangers.
            if media_type(data) is None:
                raise ImageError(f"not an image in a format that this server takes ({FORMATS})")
            return data, tokens
        except InputError as error:
            code = "INPUT_IMAGE_FETCH_FAILED" if isinstance(item, ImageUrl) else "INPUT_INVALID_IMAGE"
            raise invalid_input(position, strip_image_label(error.message), code=code) from error

    def _count_tiles(self, size: tuple[int, int]) -> int:
        """Tokens of an image of this size; 0 where the tile size of the model is not known."""
        return image_tokens(size, self._spec) if self._spec.image_size else 0


def _to_content_block(item: ImageUrl | InlineImage) -> dict[str, Any]:
    """The item as a content block: unlike in `{"image": ...}`, a string in it never names a local file."""
    source = {"url": item.url} if isinstance(item, ImageUrl) else {"base64": item.encoded}
    return {"type": "image", **source}


async def gather_in_order(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, computed concurrently. Raises the failure that is first in the list and cancels the rest."""
    # Not `asyncio.gather`: it raises the failure that is first in time, so that a retry may name another input.
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
