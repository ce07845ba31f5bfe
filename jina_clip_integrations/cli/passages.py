"""Cutting a long text into passages that each say one thing and fit the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

PASSAGE_CHARACTERS = 1000
"""Longest passage in characters: some 200 tokens of English, well inside the model, and still a readable result."""

_PARAGRAPHS = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"#{1,6} ")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？।۔؟])\s*|\n")
_WORDS = re.compile(r"\s+")


def passages(text: str, *, longest: int = PASSAGE_CHARACTERS) -> list[str]:
    """Passages of at most `longest` characters, in order; an empty list for a blank text.

    Paragraphs are kept whole and joined while they fit; a Markdown heading starts a passage and stays with what follows
    it. A paragraph that is too long is cut between sentences, a sentence between words, a word anywhere.
    """
    found: list[str] = []
    current = ""
    for paragraph in _paragraphs(text, longest):
        joined = f"{current}\n\n{paragraph}" if current else paragraph
        if len(joined) <= longest and not _starts_section(paragraph, current):
            current = joined
            continue
        if current:
            found.append(current)
        current = paragraph
    return [*found, current] if current else found


def _starts_section(paragraph: str, current: str) -> bool:
    """A heading opens a new passage, unless all there is so far are headings above it."""
    last = current.rsplit("\n", 1)[-1]
    return bool(_HEADING.match(paragraph)) and not _HEADING.match(last)


def _paragraphs(text: str, longest: int) -> Iterator[str]:
    for paragraph in _PARAGRAPHS.split(text.replace("\r\n", "\n")):
        whole = paragraph.strip()
        if whole:
            yield from _pack(_SENTENCE_ENDS.split(whole), longest) if len(whole) > longest else (whole,)


def _pack(pieces: list[str], longest: int) -> Iterator[str]:
    """Join neighbouring pieces with a space while they fit; a piece that is too long is cut between words."""
    current = ""
    for piece in pieces:
        for part in _fitting(piece.strip(), longest):
            joined = f"{current} {part}" if current else part
            if len(joined) <= longest:
                current = joined
            else:
                yield current
                current = part
    if current:
        yield current


def _fitting(piece: str, longest: int) -> list[str]:
    if len(piece) <= longest:
        return [piece] if piece else []
    words = _WORDS.split(piece)
    if len(words) == 1:
        return [piece[start : start + longest] for start in range(0, len(piece), longest)]
    return list(_pack(words, longest))
