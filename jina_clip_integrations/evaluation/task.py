"""A retrieval task: queries, a corpus, and which documents answer which query how well."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import InputError
from ..types import Item

Grades = Mapping[int, int]
"""Position in the corpus to how well that document answers: 1 and more; what is not there does not answer."""


@dataclass(frozen=True)
class RetrievalTask:
    """Queries against a corpus. Items are those of `encoder.encode`, or have a text and an image at once."""

    name: str
    queries: Sequence[Item]
    corpus: Sequence[Item]
    relevance: Sequence[Grades]
    """For every query the documents that answer it."""
    languages: Sequence[str]
    """For every query its language, or the empty string."""
    query_ids: Sequence[str]
    corpus_ids: Sequence[str]
    notes: Sequence[str] = ()
    """What a reader of the figures has to know, such as images without a caption."""

    @cached_property
    def forward_name(self) -> str:
        """What the figures of the queries are called: `text_to_image` where the items are plain."""
        return f"{_kind(self.queries, 'query')}_to_{_kind(self.corpus, 'document')}"

    @cached_property
    def backward_name(self) -> str:
        """What the figures of the other direction are called: `image_to_text` where the items are plain."""
        return f"{_kind(self.corpus, 'document')}_to_{_kind(self.queries, 'query')}"

    @cached_property
    def language_names(self) -> list[str]:
        """Every language once, in the order of first appearance."""
        return list(dict.fromkeys(self.languages))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides the figures, except the content of image files."""
        digest = hashlib.sha256()
        for ids, items in ((self.query_ids, self.queries), (self.corpus_ids, self.corpus)):
            for id_, item in zip(ids, items, strict=True):
                digest.update(f"{id_}\0{_fingerprint(item)}\1".encode("utf-8", "surrogatepass"))
            digest.update(b"\2")
        for language, grades in zip(self.languages, self.relevance, strict=True):
            digest.update(f"{language}\0{sorted(grades.items())}\1".encode())
        return digest.hexdigest()


def gallery_task(languages: Sequence[str] = ()) -> RetrievalTask:
    """The demo gallery as a task: every name of every image, in all its languages or the given ones.

    Raises `InputError` for a language that the gallery lacks, before anything is embedded.
    """
    from ..demo import gallery

    images = gallery()
    known = list(dict.fromkeys(language for image in images for language in image.names))
    for language in languages:
        if language not in known:
            raise InputError(f"--languages: the gallery has no names in {language!r}; it has {', '.join(known)}")
    named = [
        (number, image.names[language], language)
        for language in languages or known
        for number, image in enumerate(images)
        if language in image.names
    ]
    return caption_task(
        "demo gallery", [{"image": image.data()} for image in images], [image.id for image in images], named
    )


def caption_task(
    name: str,
    images: Sequence[Item],
    ids: Sequence[str],
    captions: Sequence[tuple[int, str, str]],
    notes: Sequence[str] = (),
) -> RetrievalTask:
    """Captions `(position of the image, text, language)` as a task.

    A text that stands at several images in one language is one query with several right answers.
    """
    answers: dict[tuple[str, str], dict[int, int]] = {}
    for position, text, language in captions:
        answers.setdefault((text, language), {})[position] = 1
    texts = list(answers)
    return RetrievalTask(
        name=name,
        queries=[{"text": text} for text, _ in texts],
        corpus=images,
        relevance=list(answers.values()),
        languages=[language for _, language in texts],
        query_ids=[f"{language}:{text}" if language else text for text, language in texts],
        corpus_ids=ids,
        notes=notes,
    )


def _kind(items: Sequence[Item], otherwise: str) -> str:
    kinds = {tuple(sorted(item)) for item in items}
    return next(iter(kinds))[0] if len(kinds) == 1 and len(next(iter(kinds))) == 1 else otherwise


def _fingerprint(item: Item) -> str:
    image = item.get("image", "")
    known = image if isinstance(image, str) else hashlib.sha256(bytes(image)).hexdigest()
    return f"{item.get('text', '')}\0{known}"
