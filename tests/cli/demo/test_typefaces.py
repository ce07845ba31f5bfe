"""Fonts: what is drawn has a glyph, and what has none gets no font."""

from __future__ import annotations

from pathlib import Path

import pytest

from jina_clip_integrations.cli.demo import typefaces
from jina_clip_integrations.cli.demo.typefaces import needs_shaping, script_name, typeface

WORDS = {
    "en": "a slice of pizza",
    "de": "Größe über Maß",
    "pl": "żółw źdźbło",
    "vi": "mặt cười toe toét",
    "ru": "широко улыбается",
    "hi": "दाँत दिखाता चेहरा",
    "ar": "وجه بابتسامة",
    "ja": "にっこり笑う",
    "zh": "哈哈",
    "ko": "활짝 웃는 얼굴",
}
SHAPED = {"hi", "ar"}


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has no fonts of its own."""
    monkeypatch.setattr(typefaces, "SYSTEM_FONTS", ())
    monkeypatch.setattr(typefaces.shutil, "which", lambda program: None)
    typefaces.ask_fontconfig.cache_clear()


@pytest.fixture
def no_raqm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a Pillow that cannot shape."""
    monkeypatch.setattr(typefaces, "can_shape", lambda: False)


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.usefixtures("no_system_fonts")
def test_every_language_of_the_gallery_can_be_drawn_anywhere(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typefaces, "can_shape", lambda: True)
    font = typeface(WORDS[language], 20)
    assert font is not None
    assert Path(str(font.path)).parent == typefaces.OWN_FONTS


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.usefixtures("no_raqm")
def test_scripts_that_need_shaping_are_not_drawn_without_it(language: str) -> None:
    assert (typeface(WORDS[language], 20) is None) == (language in SHAPED)
    assert needs_shaping(WORDS[language]) == (language in SHAPED)


@pytest.mark.usefixtures("no_system_fonts")
def test_letters_without_a_font_get_none() -> None:
    assert typeface("ქართული", 20) is None
    assert typeface("a \U0001f525", 20) is None


@pytest.mark.usefixtures("no_system_fonts")
def test_one_missing_letter_is_enough() -> None:
    assert typeface("mostly latin, but ქ", 20) is None


def test_system_fonts_are_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(typefaces, "ask_fontconfig", lambda characters: asked.append(characters) or ())
    monkeypatch.setattr(typefaces, "SYSTEM_FONTS", ())
    typeface("plain", 20)
    assert asked == []
    typeface("ქა", 20)
    assert asked == ["აქ"]


def test_bold_is_another_face() -> None:
    regular, bold = typeface("plain", 20), typeface("plain", 20, bold=True)
    assert regular is not None
    assert bold is not None
    assert regular.path != bold.path
    assert typeface("にっこり", 20, bold=True) is not None


@pytest.mark.parametrize(
    ("text", "script"),
    [("hello", "Latin"), ("दाँत", "Devanagari"), ("にっこり a", "Hiragana"), ("哈哈", "Cjk"), ("123 !", "symbols")],
)
def test_scripts_have_names(text: str, script: str) -> None:
    assert script_name(text) == script


def test_the_licence_travels_with_the_fonts() -> None:
    assert "SIL OPEN FONT LICENSE" in (typefaces.OWN_FONTS / "OFL.txt").read_text("utf-8").upper()
    names = {path.name for path in typefaces.OWN_FONTS.iterdir() if path.suffix in (".ttf", ".otf")}
    assert names == {*typefaces.REGULAR, *typefaces.BOLD}
    readme = (typefaces.OWN_FONTS / "README.md").read_text("utf-8")
    assert all(name in readme for name in names)
