"""Estimates of what a job would cost at the hosted service; nothing is sent.

Images are charged by the tile, exact as documented (Jina's FAQ): as many squares of the model's image size as it
takes to cover the image. Texts are counted by a rule of thumb that leans to the high side outside the Latin script;
the service's own count is in `usage` afterwards.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import Any

from .catalog import JINA_CLIP_V1, MODELS, ModelSpec, find_model
from .errors import ConfigurationError, ImageError, InputError
from .images.encoded import InputImage
from .images.sources import SourcePolicy
from .inputs import InputParser, many_items
from .settings import DEFAULT_MODEL, RESIZE_MODES, require_choice, require_number

PRICE_USD_PER_MILLION = 0.05
"""US dollars per million tokens at the hosted service, as of 6 May 2025 (1 billion tokens for $50)."""

SPECIAL_TOKENS = 2
"""Tokens that both tokenizers put around every text."""

LATIN_PER_TOKEN = 7
"""Latin letters per token within a word; gives the vendor's 1.1 tokens per English word."""

DIGITS_PER_TOKEN = 2
"""Digits per token within a number."""

LETTERS_PER_TOKEN = 2
"""Letters of other alphabets per token within a word; one for v1, whose vocabulary is English."""

_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean: written without spaces or a syllable a character."""

_LONG = 100_000
"""Texts of this many characters are not matched to their end: counting stops at what the model reads."""


@cache
def _tokens_of(letters_per_token: int) -> re.Pattern[str]:
    """A pattern with one match per token, including the space behind it, which spares a vain attempt per word."""
    return re.compile(
        rf"[A-Za-z\u00c0-\u024f]{{1,{LATIN_PER_TOKEN}}} ?|\d{{1,{DIGITS_PER_TOKEN}}} ?"
        rf"|[^\W\d_{_DENSE}]{{1,{letters_per_token}}} ?|\S"
    )


@dataclass(frozen=True, kw_only=True)
class TokenEstimate:
    """Tokens that a job would be charged for, and their price."""

    total_tokens: int
    """Texts and images together."""
    text_tokens: int
    image_tokens: int
    price_usd: float
    """At `PRICE_USD_PER_MILLION`, or the price that was given."""


def estimate_tokens(
    items: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    *,
    model: str = DEFAULT_MODEL,
    resize_images: bool | str = False,
    sources: SourcePolicy | None = None,
    price_usd_per_million: float = PRICE_USD_PER_MILLION,
) -> TokenEstimate:
    """Estimate what the hosted service would charge for `items`. Of an image only the header is read.

    Args:
        items: The items of `JinaClipEncoder.encode`, or one of them.
        model: `jina-clip-v1` or `jina-clip-v2`.
        resize_images: Whether images are brought to one tile before they are sent (any mode of `ApiBackend`).
        sources: Where images may come from. URLs are fetched only if a policy that permits it is given here.
        price_usd_per_million: US dollars per million tokens.

    Raises:
        ConfigurationError: a model without a price.
        InputError, ImageError: an item that cannot be understood or read; `index` says which.
    """
    spec = find_model(model)
    if spec is None:
        raise ConfigurationError(f"no price is known for model {model!r}; known: {', '.join(sorted(MODELS))}")
    require_choice("resize_images", resize_images, RESIZE_MODES)
    require_number("price_usd_per_million", price_usd_per_million, minimum=0)
    parser = InputParser(sources=sources or SourcePolicy())
    count = partial(_count, parser, spec, one_tile=resize_images is not False, may_fetch=sources is not None)
    counts = [
        count(item, at=at) for at, item in enumerate([items] if isinstance(items, Mapping) else many_items(items))
    ]
    texts, images = (sum(tokens for is_text, tokens in counts if is_text is wanted) for wanted in (True, False))
    return TokenEstimate(
        total_tokens=texts + images,
        text_tokens=texts,
        image_tokens=images,
        price_usd=(texts + images) * price_usd_per_million / 1e6,
    )


def _count(
    parser: InputParser, spec: ModelSpec, item: Any, *, at: int, one_tile: bool, may_fetch: bool
) -> tuple[bool, int]:
    """Whether `item` is a text, and its tokens. Raises `InputError` naming the position `at`."""
    try:
        parsed = parser.item(item)
        if isinstance(parsed, str):
            return True, text_tokens(parsed, spec)
        return False, _image_tokens(parsed, spec, one_tile=one_tile, may_fetch=may_fetch)
    except InputError as error:
        error.at(at)
        raise


def text_tokens(text: str, spec: ModelSpec) -> int:
    """About how many tokens `text` has, special tokens included, at most what the model reads."""
    tokens = _tokens_of(1 if spec is JINA_CLIP_V1 else LETTERS_PER_TOKEN)
    max_tokens = spec.max_length - SPECIAL_TOKENS
    if len(text) < _LONG:
        return min(len(tokens.findall(text)), max_tokens) + SPECIAL_TOKENS
    return sum(1 for _ in islice(tokens.finditer(text), max_tokens)) + SPECIAL_TOKENS


def max_text_tokens(text: str, spec: ModelSpec) -> int:
    """Upper bound of the tokens of `text`, special tokens included; for budgets, where an estimate may be too low.

    A token of either vocabulary stands for at least one character of the decomposed text, besides one that may mark
    the beginning. A text that is truncated counts as much as the model reads.
    """
    # NFKD gives the most characters of all normal forms, so it bounds whatever form a tokenizer works on.
    characters = len(text) if text.isascii() else len(unicodedata.normalize("NFKD", text))
    return min(characters + 1, spec.max_length) + SPECIAL_TOKENS


def image_tokens(size: tuple[int, int], spec: ModelSpec) -> int:
    """Tokens charged for an image of `size` (width, height in pixels); partial tiles count whole."""
    width, height = size
    # Negated twice, floor division rounds up.
    return -(-width // spec.image_size) * -(-height // spec.image_size) * spec.tokens_per_tile


def _image_tokens(image: InputImage, spec: ModelSpec, *, one_tile: bool, may_fetch: bool) -> int:
    # An estimate fetches nothing on its own: a URL from anywhere could make it reach any host.
    if image.address is not None and not may_fetch:
        if one_tile:
            return spec.tokens_per_tile
        raise ImageError(
            f"{image.label}: its size is not known before it is fetched; allow that with "
            "sources=SourcePolicy(), or estimate with resize_images=True"
        )
    size = image.size()
    return spec.tokens_per_tile if one_tile else image_tokens(size, spec)
