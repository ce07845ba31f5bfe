"""Cutting a long text into passages that each say one thing and fit the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

PASSAGE_CHARACTERS = 1000
"""Longest passage in characters: some 200 tokens of English, well inside the model, and still a readable result."""

_PARAGRAPHS = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"#{1,6} ")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?…]\s)|(?<=[。！？।۔؟])|(?<=\n)")
_WORD_ENDS = re.compile(r"(?<=\s)")


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
            yield from _cut(whole, longest) if len(whole) > longest else (whole,)


def _cut(paragraph: str, longest: int) -> Iterator[str]:
    """Join neighbouring pieces of a long paragraph while they fit."""
    current = ""
    for piece in _pieces(paragraph, longest):
        if len((current + piece).strip()) > longest:
            yield current.strip()
            current = ""
        current += piece
    if current.strip():
        yield current.strip()


def _pieces(paragraph: str, longest: int) -> Iterator[str]:
    """Sentences; words of a sentence that is too long; parts of a word that is too long."""
    for sentence in _SENTENCE_ENDS.split(paragraph):
        if len(sentence.strip()) <= longest:
            yield sentence
            continue
        for word in _WORD_ENDS.split(sentence):
            yield from (word[start : start + longest] for start in range(0, len(word), longest))
