"""Fonts for the contact sheet: the small ones that come with this package, then whatever the system has.

Pillow's own default font knows only ASCII and draws a box for everything else. Here a text either gets a font that has
every one of its characters, and an engine that can shape its script, or no font at all, so that the caller can say the
thing in other words.
"""

from __future__ import annotations

import shutil
import subprocess  # only to ask fontconfig where fonts are
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

OWN_FONTS = Path(__file__).parent / "fonts"
"""Subsets of Noto fonts; `fonts/README.md` says which and under which licence."""

REGULAR = ("latin.ttf", "devanagari.ttf", "arabic.ttf", "japanese.otf", "chinese.otf", "korean.otf")
BOLD = ("latin-bold.ttf",)

SYSTEM_FONTS = (
    *("NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf"),
    *("DejaVuSans.ttf", "Arial Unicode.ttf", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Kohinoor.ttc"),
    *("segoeui.ttf", "YuGothM.ttc", "msyh.ttc", "malgun.ttf", "Nirmala.ttc", "Nirmala.ttf", "arial.ttf"),
)
"""File names that Pillow looks up in the usual folders of Linux, macOS and Windows."""

FONTCONFIG_TIMEOUT_S = 5.0
FONTCONFIG_CHARACTERS = 16
"""Characters named in one question to fontconfig."""

_MISSING = "\U0010ffff"  # a noncharacter, which every font draws as its "missing" box
_SHAPED_SCRIPTS = (
    *("BENGALI", "DEVANAGARI", "GUJARATI", "GURMUKHI", "KANNADA", "KHMER", "LAO", "MALAYALAM", "MYANMAR", "ORIYA"),
    *("SINHALA", "TAMIL", "TELUGU", "THAI", "TIBETAN"),
)


def typeface(text: str, size: float, *, bold: bool = False) -> FreeTypeFont | None:
    """A font that draws every character of `text`, `size` in pixels; None if this machine has none."""
    # Letters in the wrong form or order would be worse than a description in English.
    if needs_shaping(text) and not can_shape():
        return None
    # Sorted and without repeats, so that the caches below meet the same key again.
    characters = "".join(sorted({character for character in text if _is_render(character)}))
    return next((_open(*found, size) for found in _candidates(characters, bold) if _covers(found, characters)), None)


def script_name(text: str) -> str:
    """The script of most letters of a text, as Unicode names it: `Devanagari`, `Hangul`, `Cjk` …"""
    names = [unicodedata.name(character, "").split(" ")[0].split("-")[0] for character in text if character.isalpha()]
    return max(names, key=names.count).capitalize() if any(names) else "symbols"


def needs_shaping(text: str) -> bool:
    """Whether the letters change form or order when they are set, so that drawing one by one would be wrong."""
    return any(
        unicodedata.bidirectional(character) in ("R", "AL")
        or unicodedata.name(character, "").startswith(_SHAPED_SCRIPTS)
        for character in text
    )


@cache
def can_shape() -> bool:
    """Whether Pillow has the Raqm engine here, which shapes and orders complex scripts."""
    from PIL import features

    return bool(features.check("raqm"))


def _is_render(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")


def _candidates(characters: str, bold: bool) -> Iterator[tuple[str, int]]:
    """Font files, each with the number of the face in it, the best first."""
    # Our own fonts first: the sheet then looks the same on every machine.
    for name in (*(BOLD if bold else ()), *REGULAR):
        yield str(OWN_FONTS / name), 0
    for name in SYSTEM_FONTS:
        yield name, 0
    yield from ask_fontconfig(characters[:FONTCONFIG_CHARACTERS])


@cache
def ask_fontconfig(characters: str) -> tuple[tuple[str, int], ...]:
    """Fonts that have these characters according to fontconfig, where it is installed."""
    program = shutil.which("fc-list")
    if program is None or not characters:
        return ()
    wanted = " ".join(f"{ord(character):x}" for character in characters)
    command = [program, "--format", "%{file}\t%{index}\n", f":charset={wanted}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=FONTCONFIG_TIMEOUT_S, check=True)  # noqa: S603  # fixed program, code points as hexadecimal digits
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = sorted(line.split("\t") for line in answer.stdout.splitlines() if "\t" in line)
    return tuple((path, int(index) & 0xFFFF) for path, index in lines if index.isdigit())


@cache
def _open(path: str, index: int, size: float) -> FreeTypeFont | None:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(path, size, index=index)
    except (OSError, ValueError):  # not there, or a bitmap font without this size
        return None


@cache
def _covers(found: tuple[str, int], characters: str) -> bool:
    font = _open(*found, 24.0)
    if font is None:
        return False
    # Fonts do not say what they lack, but they draw it all with one and the same box.
    box = _render(font, _MISSING)
    return all(_render(font, character) != box for character in characters)


def _render(font: FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character, mode="L")
    return mask.size, bytes(mask)
