"""Captions: what an image may be called, drawn at random for training.

A caption is a short name, a sentence around a short name, one keyword, or several keywords. It counts as true for
every emoji that the names and keywords of its language say it names, not only for the one it was drawn from. The
emoji with held-out keywords are described by name alone; for a keyword caption nothing is known about them, so
they are neither true nor false.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from catalogue import LANGUAGES, Emoji

#: The instruction of the demo model's own, put before a third of all captions.
QUERY_PREFIX = "query: "
PREFIX_SHARE = 0.30

#: Kinds of caption and how often each is drawn.
KINDS = {"name": 0.45, "template": 0.14, "keyword": 0.20, "keywords": 0.21}

#: Languages that trailed in pilots are drawn a little more often.
LANGUAGE_WEIGHTS = {"vi": 1.7, "ar": 1.35, "hi": 1.35, "tr": 1.25, "ru": 1.2, "pl": 1.2, "fr": 1.15, "uk": 1.1}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "en": (
        "a picture of {}",
        "an image of a {}",
        "an emoji of {}",
        "icon: {}",
        "a drawing of {}",
        "show me {}",
        "the {}",
    ),
    "de": ("ein Bild von {}", "ein Emoji: {}", "Symbol: {}", "eine Zeichnung von {}", "zeig mir {}"),
    "fr": ("une image de {}", "un emoji : {}", "icône : {}", "un dessin de {}", "montre-moi {}"),
    "es": ("una imagen de {}", "un emoji de {}", "icono: {}", "un dibujo de {}", "muéstrame {}"),
    "pt": ("uma imagem de {}", "um emoji de {}", "ícone: {}", "um desenho de {}", "mostre {}"),
    "it": ("un'immagine di {}", "un'emoji di {}", "icona: {}", "un disegno di {}", "mostrami {}"),
    "nl": ("een afbeelding van {}", "een emoji van {}", "pictogram: {}", "een tekening van {}", "toon {}"),
    "pl": ("obrazek: {}", "emoji: {}", "ikona: {}", "rysunek: {}", "pokaż {}"),
    "ru": ("картинка: {}", "эмодзи: {}", "значок: {}", "рисунок: {}", "покажи {}"),
    "tr": ("{} resmi", "{} emojisi", "simge: {}", "{} çizimi", "{} göster"),
    "ar": ("صورة {}", "رمز {}", "أيقونة: {}", "رسم {}", "أرني {}"),
    "hi": ("{} का चित्र", "{} का इमोजी", "चिह्न: {}", "{} की तस्वीर", "{} दिखाओ"),
    "id": ("gambar {}", "emoji {}", "ikon: {}", "lukisan {}", "tampilkan {}"),
    "zh": ("{}的图片", "{}表情", "图标:{}", "一张{}的图", "给我看{}"),
    "ja": ("{}の画像", "{}の絵文字", "アイコン: {}", "{}のイラスト", "{}を見せて"),
    "ko": ("{} 사진", "{} 이모지", "아이콘: {}", "{} 그림", "{} 보여줘"),
    "sv": ("en bild av {}", "en emoji: {}", "ikon: {}", "en teckning av {}", "visa {}"),
    "cs": ("obrázek: {}", "emoji: {}", "ikona: {}", "kresba: {}", "ukaž {}"),
    "uk": ("зображення: {}", "емодзі: {}", "значок: {}", "малюнок: {}", "покажи {}"),
    "vi": ("hình ảnh {}", "biểu tượng {}", "emoji: {}", "tranh vẽ {}", "cho tôi xem {}"),
}


@dataclass(frozen=True)
class Caption:
    """A caption with the rows of the emoji it is true for; `by_keyword` leaves the held-out emoji undecided."""

    text: str
    true_for: tuple[int, ...]
    by_keyword: bool


class CaptionSource:
    """Draws captions for given emoji rows; all randomness comes from the generator it is given."""

    def __init__(self, emoji: tuple[Emoji, ...]) -> None:
        self.emoji = emoji
        self.languages = list(LANGUAGES)
        self._weights = [LANGUAGE_WEIGHTS.get(language, 1.0) for language in self.languages]
        self._by_name: dict[tuple[str, str], set[int]] = {}
        self._by_word: dict[tuple[str, str], set[int]] = {}
        for row, entry in enumerate(emoji):
            for language in self.languages:
                name = entry.names[language].casefold()
                self._by_name.setdefault((language, name), set()).add(row)
                words = () if entry.keywords_held_out else entry.keywords[language]
                for word in {name, *(word.casefold() for word in words)}:
                    self._by_word.setdefault((language, word), set()).add(row)

    def draw(self, row: int, rng: random.Random) -> Caption:
        """Return one random caption of the emoji in `row`."""
        language = rng.choices(self.languages, self._weights)[0]
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        entry = self.emoji[row]
        words = () if entry.keywords_held_out else entry.keywords[language]
        if kind.startswith("keyword") and words:
            count = 1 if kind == "keyword" else rng.choice((2, 3, 4, 6))
            picked = rng.sample(words, min(count, len(words)))
            true_for = set.intersection(*(self._by_word[language, word.casefold()] for word in picked))
            text = rng.choice((" ", ", ", " ")).join(picked)
            return Caption(self._prefixed(text, rng), tuple(sorted(true_for)), True)
        name = entry.names[language]
        text = rng.choice(TEMPLATES[language]).format(name) if kind == "template" else name
        return Caption(self._prefixed(text, rng), tuple(sorted(self._by_name[language, name.casefold()])), False)

    @staticmethod
    def _prefixed(text: str, rng: random.Random) -> str:
        return QUERY_PREFIX + text if rng.random() < PREFIX_SHARE else text

    def corpus(self) -> Iterator[str]:
        """Yield every name three times, every trainable keyword once and every template, for the tokenizer."""
        for entry in self.emoji:
            for language in self.languages:
                yield from [entry.names[language]] * 3
                if not entry.keywords_held_out:
                    yield from entry.keywords[language]
        for templates in TEMPLATES.values():
            yield from [template.format("") for template in templates] * 20
        yield from [QUERY_PREFIX.strip()] * 200
