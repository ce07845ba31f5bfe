"""The emoji of the demo gallery with their names and keywords in every language.

The choice follows the order and categories of `emoji-datasource` and leaves out skin tones, flags of places,
gendered and family sequences, images that Noto draws identically, and emoji that CLDR does not name in every
language of `LANGUAGES`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from fetch import package_folder

#: Languages of names, captions and evaluation.
LANGUAGES = (
    "en", "de", "fr", "es", "pt", "it", "nl", "pl", "ru", "tr",
    "ar", "hi", "id", "zh", "ja", "ko", "sv", "cs", "uk", "vi",
)  # fmt: skip

#: One emoji in ten gives its keywords to the evaluation only.
HELD_OUT_SHARE = 0.10

#: The two signs, the man or woman that opens a sequence, and the child of a family.
_GENDERED_OR_FAMILY = ("2640", "2642", "1F468", "1F469", "1F9D2")


@dataclass(frozen=True)
class Emoji:
    """One image concept: `id` is its code points in lower-case hex without variation selectors."""

    id: str
    char: str
    category: str
    names: dict[str, str]
    keywords: dict[str, tuple[str, ...]]

    @property
    def keywords_held_out(self) -> bool:
        """Whether the keywords are kept for the evaluation (decided by a digest of `id`, so it never moves)."""
        digest = hashlib.sha256(f"keywords {self.id}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def emoji_id(unified: str) -> str:
    """Return the id of a dash-separated code point string: lower case, no variation selector 16."""
    return "-".join(part for part in unified.lower().split("-") if part != "fe0f")


def icon_set(name: str) -> dict[str, Any]:
    """Return `icons.json` of an iconify package by its short name."""
    data: dict[str, Any] = json.loads((package_folder(name) / "icons.json").read_text("utf-8"))
    return data


def character_map(name: str) -> dict[str, str]:
    """Return emoji id -> icon name of a set that publishes its code points, else an empty map."""
    path = package_folder(name) / "chars.json"
    if not path.exists():
        return {}
    return {emoji_id(code): icon for code, icon in json.loads(path.read_text("utf-8")).items()}


def _annotations(language: str) -> dict[str, dict[str, list[str]]]:
    path = package_folder("cldr-annotations-full") / "annotations" / language / "annotations.json"
    annotations: dict[str, dict[str, list[str]]] = json.loads(path.read_text("utf-8"))["annotations"]["annotations"]
    return {char.replace("\ufe0f", ""): entry for char, entry in annotations.items()}


def _is_wanted(row: dict[str, Any]) -> bool:
    parts = row["unified"].split("-")
    if row["category"] == "Component" or row["subcategory"] in ("country-flag", "subdivision-flag", "family"):
        return False
    return len(parts) == 1 or not ("200D" in parts and any(part in _GENDERED_OR_FAMILY for part in parts))


@functools.cache
def load_emoji() -> tuple[Emoji, ...]:
    """Return the emoji of the gallery in their usual order."""
    source = json.loads((package_folder("emoji-datasource") / "emoji.json").read_text("utf-8"))
    noto_names, noto = character_map("noto"), icon_set("noto")["icons"]
    annotations = {language: _annotations(language) for language in LANGUAGES}
    chosen: list[Emoji] = []
    drawn: set[str] = set()
    for row in sorted(source, key=lambda row: row["sort_order"]):
        if not _is_wanted(row):
            continue
        char = "".join(chr(int(part, 16)) for part in row["unified"].split("-"))
        found = {language: table.get(char.replace("\ufe0f", "")) for language, table in annotations.items()}
        body = noto.get(noto_names.get(emoji_id(row["unified"]), ""), {}).get("body")
        if body is None or body in drawn or not all(entry and entry.get("tts") for entry in found.values()):
            continue
        drawn.add(body)
        names = {language: entry["tts"][0].strip() for language, entry in found.items() if entry}
        keywords = {
            language: tuple(word.strip() for word in entry.get("default", ()) if word.strip())
            for language, entry in found.items()
            if entry
        }
        chosen.append(Emoji(emoji_id(row["unified"]), char, row["category"], names, keywords))
    return tuple(chosen)


if __name__ == "__main__":
    emoji = load_emoji()
    print(len(emoji), "emoji,", sum(e.keywords_held_out for e in emoji), "with held-out keywords")
    print(emoji[300])
