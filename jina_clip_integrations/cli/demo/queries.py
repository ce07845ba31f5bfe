"""The queries of `jina-clip demo`: its own, and what is known of those on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...demo import GalleryImage

LANGUAGES = {
    "ar": "Arabic",
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "sv": "Swedish",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


@dataclass(frozen=True)
class Question:
    """Words, their language, what they mean in English, and which images they name, where that is known."""

    text: str = ""
    language: str = ""
    gloss: str = ""
    right: tuple[str, ...] = ()
    """The emoji of the images that are asked for."""
    image: str | None = None
    """The file, if the question is an image."""

    def heading(self) -> str:
        """The question on one line: words, language, meaning."""
        if self.image is not None:
            return f"Image {self.image}"
        about = ", ".join(part for part in (LANGUAGES.get(self.language, ""), self.gloss) if part)
        return f"“{self.text}”" + (f" ({about})" if about else "")

    def is_answered_by(self, image: GalleryImage) -> bool:
        """Whether the image is one that is asked for; emoji are compared without their variation selectors."""
        return _strip_variation(image.emoji) in map(_strip_variation, self.right)

    def as_json(self) -> dict[str, Any]:
        """The question for machines."""
        if self.image is not None:
            return {"image": self.image}
        return {"text": self.text, "language": self.language, "gloss": self.gloss, "right": list(self.right)}


DEFAULT_QUERIES = (
    Question(
        "musical instrument", "en", "", ("🎷", "🎸", "🎹", "🎺", "🎻", "🪕", "🥁", "🪘", "🪗", "🪈", "🪇", "🪉", "📯")
    ),
    Question("Regenbogen", "de", "rainbow", ("🌈",)),
    Question("una taza de café caliente", "es", "a cup of hot coffee", ("☕",)),
    Question("चाँद", "hi", "moon", ("🌑", "🌒", "🌓", "🌔", "🌕", "🌖", "🌗", "🌘", "🌙", "🌚", "🌛", "🌜", "🌝")),
    Question("雪だるま", "ja", "snowman", ("⛄", "☃")),
    Question("قطار", "ar", "train", ("🚂", "🚃", "🚄", "🚅", "🚆", "🚇", "🚈", "🚉", "🚊", "🚋", "🚝", "🚞", "🚟")),
)
"""Three that ask for one thing and three that ask for a kind of thing."""


def recognize_question(text: str, images: Iterable[GalleryImage]) -> Question:
    """A question of the command line; where it is an image's name, its language and the English name are known."""
    wanted = text.strip().casefold()
    # Where several languages share a word, such as "taxi", the first one is named.
    for image in images:
        for language, name in image.names.items():
            if name.casefold() == wanted:
                english = image.names.get("en", "")
                return Question(text, language, "" if language == "en" else english, (image.emoji,))
    return Question(text)


def _strip_variation(emoji: str) -> str:
    """Without the selector that asks for a coloured emoji, which some sources write and others leave out."""
    return emoji.replace("\ufe0f", "")
