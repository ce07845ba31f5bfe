"""What is searched for: a weighted sum of texts, images and stored files, also written in one string.

    red car +beach -snow -"two people"

is the direction of "red car" plus that of "beach", minus half of those of "snow" and "two people". The grammar:

* `+` and `-` are operators at the beginning of a word only, so `t-shirt` and `C++` are plain words; an operator takes
  the one word behind it, or the phrase in quotes.
* Whatever has no operator is one text, in the order it was written: `red +beach car` asks for "red car" and "beach".
* `"…"` keeps words together and operators plain. A quote inside a word, as in `12" vinyl`, is a character.
* `^` and a number behind a word with an operator, or behind a phrase, is its weight: `+beach^0.5`, `-"two people"^2`.
* A backslash before `+ - " ^` or itself makes that a character.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..types import ImageInput, Vectors
from ..vectors import normalize

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

CANCELLED = 1e-3
"""Length of a sum, per unit of weight, below which it has no direction but that of rounding errors."""

MINUS_WEIGHT = 0.5
"""Weight of what is taken away where none is said. At 1 the difference of two texts that are alike, which is what "this
but not that" is about, has little left of what was asked for; measured in `benchmarks/negation.py`."""

MAX_TERMS = 64
"""Most terms of a query: more is a mistake, or somebody else's."""

_ESCAPED = re.compile(r'\\([-+"^\\])')
_WEIGHT = re.compile(r"\^(\d+(?:\.\d*)?|\.\d+)")
_OPERATORS = {"+": 1.0, "-": -1.0}
_DEFAULT_WEIGHTS = {"+": 1.0, "-": MINUS_WEIGHT}


@dataclass(frozen=True)
class Term:
    """One part of a query: exactly one of a text, an image and a stored file.

    Raises `InputError` for none or several of them, a blank text, and a weight that is 0 or not finite.
    """

    weight: float = 1.0
    """Above 0 adds, below 0 takes away."""
    text: str | None = None
    image: ImageInput | None = None
    """What `encode_image` takes."""
    stored: str | None = None
    """Name of an indexed file, whose vector is taken from the collection."""

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.text, self.image, self.stored)) != 1:
            raise InputError("a part of a query is exactly one of text, image and stored")
        if not (math.isfinite(self.weight) and self.weight != 0):
            raise InputError(f"the weight of a part of a query must be a finite number other than 0, not {self.weight}")
        if self.text is not None and not self.text.strip():
            raise InputError("a part of the query is blank")

    @property
    def words(self) -> str:
        """What it says, in small letters, or which file it names; empty for an image, which is not looked into."""
        return " ".join((self.text or self.stored or "").casefold().split())

    @property
    def kind(self) -> str:
        """`text` or `image`: what its vector is one of, as far as it can be told without looking it up."""
        return "text" if self.text is not None else "image"


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Raises `InputError` for no term, for more than `MAX_TERMS`, and where the same is asked for and taken away.
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise InputError("the query is blank")
        if len(self.terms) > MAX_TERMS:
            raise InputError(f"a query of {len(self.terms)} parts; at most {MAX_TERMS} are added up")
        asked, taken = ({one.words for one in self.terms if one.words and one.weight * sign > 0} for sign in (1, -1))
        for words in sorted(asked & taken):
            raise InputError(f"the query cancels itself out: it asks for {words!r} and takes it away")

    @classmethod
    def parse(cls, words: str) -> Query:
        """The query that a string in the grammar above means.

        Raises `InputError` that names the character, counted from 1, where the string is not understood.
        """
        if not words.strip():
            raise InputError("the query is blank")
        return cls(tuple(_read_terms(words)))

    @classmethod
    def of(
        cls,
        text: str | None = None,
        image: ImageInput | None = None,
        *,
        plus: Iterable[str | Term] = (),
        minus: Iterable[str | Term] = (),
        similar_to: str | None = None,
    ) -> Query:
        """A query of parts that need no parsing.

        Args:
            text: Taken as it is, operators and all.
            image: What `encode_image` takes.
            plus: Texts, or terms, that are added with their weight.
            minus: Texts that are taken away with `MINUS_WEIGHT`, or terms, with their own weight.
            similar_to: Name of an indexed file.
        """
        terms = [Term(text=text)] if text is not None else []
        terms += [Term(image=image)] if image is not None else []
        terms += [Term(stored=similar_to)] if similar_to is not None else []
        terms += [_as_term(one) for one in plus]
        taken = [_as_term(one, MINUS_WEIGHT) for one in minus]
        terms += [Term(-one.weight, one.text, one.image, one.stored) for one in taken]
        return cls(tuple(terms))

    def __add__(self, other: Query) -> Query:
        return Query(self.terms + other.terms)

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the indexed files that it mentions."""
        return tuple(term.stored for term in self.terms if term.stored is not None)

    def embed(self, encoder: JinaClipEncoder, stored: Callable[[str], Vectors]) -> Vectors:
        """The vector `(d,)` of unit length: every term normalised, weighted, summed, normalised again.

        Texts get the model's query instruction where it has one. Texts and images are one call of the encoder;
        `stored` gives the vector of an indexed file. Raises what both of them raise, and `InputError` where the terms
        cancel each other out.
        """
        given = [term for term in self.terms if term.stored is None]
        rows = iter(_encode(encoder, given)) if given else iter(())
        vectors = [next(rows) if term.stored is None else stored(term.stored) for term in self.terms]
        return combine(np.stack(vectors), [term.weight for term in self.terms])


def combine(vectors: Vectors, weights: Sequence[float]) -> Vectors:
    """The normalised weighted sum `(d,)` of normalised rows `(n, d)`. Raises `InputError` for a sum without direction.

    A single term is not changed by its weight but for the sign.
    """
    scale = np.asarray(weights, np.float64)
    unit = normalize(np.asarray(vectors, np.float32)).astype(np.float64)
    total = (scale[:, None] * unit).sum(axis=0)
    length = float(np.linalg.norm(total))
    if not length > CANCELLED * np.abs(scale).sum():
        raise InputError("the query cancels itself out: what it adds and what it takes away are the same")
    result: Vectors = (total / length).astype(np.float32)
    return result


def _encode(encoder: JinaClipEncoder, terms: Sequence[Term]) -> Vectors:
    items: list[dict[str, Any]] = [
        {"text": term.text} if term.text is not None else {"image": term.image} for term in terms
    ]
    return encoder.encode(items, task=encoder.query_task)


def _as_term(part: str | Term, weight: float = 1.0) -> Term:
    return part if isinstance(part, Term) else Term(weight, text=part)


def _read_terms(words: str) -> Iterator[Term]:
    plain: list[str] = []
    terms: list[Term] = []
    position = 0
    while position < len(words):
        if words[position].isspace():
            position += 1
            continue
        sign = _OPERATORS.get(words[position])
        begins = position + (sign is not None)
        text, weight, end = _read_part(words, begins, signed=sign is not None)
        if not text.strip():
            raise _malformed(position, "nothing stands there to search for")
        if sign is None and weight is None:
            plain.append(text)
        else:
            usual = _DEFAULT_WEIGHTS.get(words[position], 1.0)
            terms.append(Term((sign or 1.0) * (usual if weight is None else weight), text=text))
        position = end
    if plain:
        yield Term(text=" ".join(plain))
    yield from terms


def _read_part(words: str, begins: int, *, signed: bool) -> tuple[str, float | None, int]:
    """A word or phrase at `begins`: its text, its weight, and where it ends."""
    if begins < len(words) and words[begins] == '"':
        text, end = _read_phrase(words, begins)
        weight, end = _read_weight(words, end)
        if end < len(words) and not words[end].isspace():
            raise _malformed(end, "a blank is missing behind the closing quote")
        return text, weight, end
    if signed and (begins == len(words) or words[begins].isspace()):
        sign = words[begins - 1]
        raise _malformed(begins - 1, f"no word stands behind {sign}; write \\{sign} if the character is meant")
    if signed and words[begins] in _OPERATORS:
        raise _malformed(begins, f"two operators; write \\{words[begins]} if the character is meant")
    end = begins
    while end < len(words) and not words[end].isspace():
        end += 2 if _ESCAPED.match(words, end) else 1
    text, weight = words[begins:end], None
    if signed:
        text, weight = _split_weight(words, begins, end)
    return _ESCAPED.sub(r"\1", text), weight, end


def _read_phrase(words: str, begins: int) -> tuple[str, int]:
    """The text between the quote at `begins` and the next one, and where the phrase ends."""
    end = begins + 1
    while end < len(words) and words[end] != '"':
        end += 2 if _ESCAPED.match(words, end) else 1
    if end >= len(words):
        raise _malformed(begins, "this quote is never closed")
    return _ESCAPED.sub(r"\1", words[begins + 1 : end]), end + 1


def _read_weight(words: str, position: int) -> tuple[float | None, int]:
    found = _WEIGHT.match(words, position)
    if found is None:
        return None, position
    return _check_weight(found), found.end()


def _split_weight(words: str, begins: int, end: int) -> tuple[str, float | None]:
    """The word without its weight, and the weight; a `^` that no number follows belongs to the word."""
    position = begins
    while position < end:
        found = _WEIGHT.match(words, position, end)
        if found is not None and found.end() == end and position > begins:
            return words[begins:position], _check_weight(found)
        position += 2 if _ESCAPED.match(words, position) else 1
    return words[begins:end], None


def _check_weight(found: re.Match[str]) -> float:
    weight = float(found[1])
    if weight == 0 or not math.isfinite(weight):
        raise _malformed(found.start(), "a weight must be a number above 0")
    return weight


def _malformed(position: int, reason: str) -> InputError:
    return InputError(f"the query is not understood at character {position + 1}: {reason}")
