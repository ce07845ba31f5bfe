"""Splits a long text into passages that each say one thing and fit the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

PASSAGE_CHARACTERS = 1000
"""Longest passage in characters: some 200 tokens of English, well inside the model, and still a readable result."""

_PARAGRAPHS = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"#{1,6} ")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?…]\s)|(?<=[。！？।۔؟])|(?<=\n)")
_WORD_ENDS = re.compile(r"(?<=\s)")


def split_passages(text: str, *, max_characters: int = PASSAGE_CHARACTERS) -> list[str]:
    """Passages of at most `max_characters` characters, in order; an empty list for a blank text.

    Paragraphs are kept whole and joined while they fit; a Markdown heading starts a passage and stays with what follows
    it. A paragraph that is too long is cut between sentences, a sentence between words, a word anywhere.
    """
    found: list[str] = []
    current = ""
    for paragraph in _split_paragraphs(text, max_characters):
        joined = f"{current}\n\n{paragraph}" if current else paragraph
        # A heading ends a passage even if there is room, because it begins another subject.
        if len(joined) <= max_characters and not _starts_section(paragraph, current):
            current = joined
            continue
        if current:
            found.append(current)
        current = paragraph
    return [*found, current] if current else found


def _starts_section(paragraph: str, current: str) -> bool:
    """A heading opens a new passage, unless all there is so far are headings above it."""
    # A heading below another one, as title and chapter, stays with it.
    last = current.rsplit("\n", 1)[-1]
    return bool(_HEADING.match(paragraph)) and not _HEADING.match(last)


def _split_paragraphs(text: str, max_characters: int) -> Iterator[str]:
    for paragraph in _PARAGRAPHS.split(text.replace("\r\n", "\n")):
        whole = paragraph.strip()
        if whole:
            yield from _split_long(whole, max_characters) if len(whole) > max_characters else (whole,)


def _split_long(paragraph: str, max_characters: int) -> Iterator[str]:
    """Split a long paragraph, and join neighbouring parts while they fit."""
    current = ""
    for part in _split_sentences(paragraph, max_characters):
        if len((current + part).strip()) > max_characters:
            yield current.strip()
            current = ""
        current += part
    if current.strip():
        yield current.strip()


def _split_sentences(paragraph: str, max_characters: int) -> Iterator[str]:
    """Sentences; words of a sentence that is too long; parts of a word that is too long."""
    for sentence in _SENTENCE_ENDS.split(paragraph):
        if len(sentence.strip()) <= max_characters:
            yield sentence
            continue
        for word in _WORD_ENDS.split(sentence):
            yield from (word[start : start + max_characters] for start in range(0, len(word), max_characters))
