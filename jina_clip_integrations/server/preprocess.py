"""Before the queue: images are fetched and measured, tokens are counted, and bad inputs are refused."""

from __future__ import annotations

import asyncio
import re
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
from .errors import RequestError, bad_item
from .items import Inline, Linked, Text
from .responses import Spent
from .schema import Request
from .settings import ServerSettings

CHECKING_THREADS = 4
"""Threads that decode base64 and read the headers of images."""

FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PNM, ICO"
_URL_LABEL = re.compile(r"https?://\S*: ")

CountTokens = Callable[[Sequence[str], "str | None"], Awaitable["list[int]"]]

T = TypeVar("T")


@dataclass
class PreprocessedRequest:
    """The inputs of one request, ready to be embedded."""

    texts: dict[int, str] = field(default_factory=dict)
    """Position in the request to text."""
    images: dict[int, bytes] = field(default_factory=dict)
    """Position in the request to encoded image."""
    tokens: dict[int, int] = field(default_factory=dict)
    """Position in the request to what the input costs."""

    def spent(self) -> Spent:
        """Tokens by position."""
        per_input = [self.tokens[position] for position in sorted(self.tokens)]
        return Spent(per_input, image_tokens=sum(self.tokens[position] for position in self.images))


class Preprocessor:
    """Makes inputs of items. Fetching has threads of its own, so a slow host delays only the request that named it."""

    def __init__(
        self, spec: ModelSpec, settings: ServerSettings, *, count_tokens: CountTokens, max_length: int
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._count_tokens = count_tokens
        self._max_length = max_length
        self._parser = InputParser(sources=settings.source_policy)
        self._fetchers = ThreadPoolExecutor(settings.max_fetches, "jina-clip-fetch")
        self._checkers = ThreadPoolExecutor(CHECKING_THREADS, "jina-clip-check")

    def close(self) -> None:
        """End the threads; what is being fetched is not waited for."""
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        self._checkers.shutdown(wait=False, cancel_futures=True)

    async def prepare(self, request: Request) -> PreprocessedRequest:
        """The inputs of `request`. Raises `RequestError` that names the first input at fault."""
        prepared = PreprocessedRequest()
        images: dict[int, Linked | Inline] = {}
        for position, item in enumerate(request.items):
            if isinstance(item, Text):
                prepared.texts[position] = self._check_text(position, item.value)
            else:
                images[position] = item
        prepared.images = dict.fromkeys(images, b"")  # in order, whichever is loaded first
        measuring = [self._measure(prepared, position, item) for position, item in images.items()]
        await in_order([self._count(prepared, request), *measuring])
        return prepared

    # Texts

    def _check_text(self, position: int, text: str) -> str:
        limit = self._settings.max_text_characters
        if len(text) > limit:
            message = f"a text of {len(text):,} characters, more than the {limit:,} that this server takes"
            raise bad_item(position, message, code="INPUT_TEXT_TOO_LONG", status=413)
        try:
            return check_text(text)
        except InputError as error:
            raise bad_item(position, error.message, code="INPUT_INVALID_TEXT") from error

    async def _count(self, prepared: PreprocessedRequest, request: Request) -> None:
        """Note the tokens of all texts. Raises `RequestError` for a text that is too long, unless it may be cut."""
        if not prepared.texts:
            return
        counts = await self._count_tokens(list(prepared.texts.values()), request.task)
        for position, count in zip(prepared.texts, counts, strict=True):
            if count > self._max_length and not request.truncate:
                raise self._too_long(position, count)
            prepared.tokens[position] = min(count, self._max_length)

    def _too_long(self, position: int, count: int) -> RequestError:
        limit = f"{count:,} tokens, more than the model's {self._max_length:,}"
        message = f"{limit}; shorten the text or send truncate=true"
        return bad_item(position, message, code="INPUT_TOKEN_LIMIT_EXCEEDED")

    # Images

    async def _measure(self, prepared: PreprocessedRequest, position: int, item: Linked | Inline) -> None:
        """Load one image and note its price in tokens."""
        if isinstance(item, Inline):
            self._check_length(position, item.encoded)
        pool = self._fetchers if isinstance(item, Linked) else self._checkers
        work = partial(self._load, position, item)
        loaded = await asyncio.get_running_loop().run_in_executor(pool, work)
        prepared.images[position], prepared.tokens[position] = loaded

    def _check_length(self, position: int, encoded: str) -> None:
        limit = self._settings.max_image_bytes
        if len(encoded) * 3 // 4 > limit + 1024:  # room for the head of a data URI
            message = f"an image of more than {limit:,} bytes"
            raise bad_item(position, message, code="INPUT_IMAGE_TOO_LARGE", status=413)

    def _load(self, position: int, item: Linked | Inline) -> tuple[bytes, int]:
        image: EncodedImage | None = None
        try:
            image = cast(EncodedImage, self._parser.item(_as_block(item)))
            price, data = self._price(image.size()), image.read()
            # Pillow has read it, so this is about plug-ins and PostScript, for which it would start an interpreter.
            if media_type(data) is None:
                raise ImageError(f"not an image in a format that this server takes ({FORMATS})")
            return data, price
        except InputError as error:
            code = "INPUT_IMAGE_FETCH_FAILED" if isinstance(item, Linked) else "INPUT_INVALID_IMAGE"
            reason = drop_label(error.message, image.label if image is not None else "")
            raise bad_item(position, reason, code=code) from error

    def _price(self, size: tuple[int, int]) -> int:
        """Tokens by tiles; nothing where nobody knows the tiles of this model."""
        return image_tokens(size, self._spec) if self._spec.image_size else 0


def drop_label(message: str, label: str) -> str:
    """Why an image cannot be used, without the address (also one it was redirected to) or digest that names it."""
    if found := _URL_LABEL.match(message):
        return f"the image: {message[found.end() :]}"
    if label and message.startswith(f"{label}: "):
        return f"the image: {message[len(label) + 2 :]}"
    return message


def _as_block(item: Linked | Inline) -> dict[str, Any]:
    """The item in the form whose strings never name a file."""
    where = {"url": item.url} if isinstance(item, Linked) else {"base64": item.encoded}
    return {"type": "image", **where}


async def in_order(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, computed concurrently. The failure that is first in the list counts; what follows is cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
