"""The contact sheet: what is where, and what is written when letters are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations.cli.demo import contact_sheet
from jina_clip_integrations.cli.demo.contact_sheet import (
    SCALE,
    Hit,
    Row,
    Sheet,
    choose_words,
    draw_sheet,
    fit_text,
    load_image,
    text_width,
    wrap_text,
)

RED, BLUE = (200, 30, 30), (30, 30, 200)


def square(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (32, 32), colour)


def sheet(*rows: Row) -> Sheet:
    return Sheet("A title", "a subtitle", rows, ["a note"])


def where(drawn: Image.Image, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Middle of everything in about this colour, in units of the layout."""
    close = np.abs(np.asarray(drawn, np.int16) - colour).max(axis=2) < 8
    rows, columns = np.nonzero(close)
    assert len(rows)
    return float(columns.mean()) / SCALE, float(rows.mean()) / SCALE


def test_the_better_answer_stands_to_the_left() -> None:
    drawn = draw_sheet(sheet(Row("words", [Hit(square(RED), "red", 0.9), Hit(square(BLUE), "blue", 0.1)])))
    (red_x, red_y), (blue_x, blue_y) = where(drawn, RED), where(drawn, BLUE)
    assert red_x < blue_x
    assert red_y == pytest.approx(blue_y)


def test_the_next_query_stands_below() -> None:
    drawn = draw_sheet(
        sheet(Row("first", [Hit(square(RED), "red", 0.9)]), Row("second", [Hit(square(BLUE), "blue", 0.9)]))
    )
    assert where(drawn, BLUE)[1] > where(drawn, RED)[1]


def test_the_right_answer_has_a_frame() -> None:
    plain = draw_sheet(sheet(Row("words", [Hit(square(RED), "red", 0.9)])))
    framed = draw_sheet(sheet(Row("words", [Hit(square(RED), "red", 0.9, is_right=True)])))
    green = np.array([61, 154, 108])
    count = [(np.abs(np.asarray(one, np.int16) - green).max(axis=2) < 8).sum() for one in (plain, framed)]
    assert count[0] == 0
    assert count[1] > 1000


def test_the_size_follows_rows_and_columns() -> None:
    hits = [Hit(square(RED), "red", 0.9)] * 6
    small, wide, tall = sheet(Row("a", hits[:3])), sheet(Row("a", hits)), sheet(Row("a", hits[:3]), Row("b", hits[:3]))
    assert wide.width > small.width
    assert tall.height > small.height
    assert draw_sheet(tall).size == (tall.width * SCALE, tall.height * SCALE)


def test_notes_are_wrap_text() -> None:
    narrow = Sheet("t", "s", [], ["a rather long note " * 20])
    assert len(narrow.footer) > 1
    assert narrow.height > Sheet("t", "s", [], ["a note"]).height


@pytest.mark.parametrize("hits", [0, 1])
def test_few_answers_are_no_trouble(hits: int) -> None:
    draw_sheet(sheet(Row("words", [Hit(square(RED), "red", 0.9)] * hits)))
    draw_sheet(sheet())


def test_a_query_image_stands_where_the_words_would() -> None:
    drawn = draw_sheet(sheet(Row("", [Hit(square(RED), "red", 0.9)], image=square(BLUE))))
    assert where(drawn, BLUE)[0] < where(drawn, RED)[0]


def test_transparent_images_are_shown_on_white() -> None:
    clear = Image.new("RGBA", (32, 32), (*RED, 0))
    clear.paste((*BLUE, 255), (8, 8, 24, 24))
    drawn = draw_sheet(sheet(Row("words", [Hit(clear, "blue", 0.9)])))
    where(drawn, BLUE)
    assert (np.abs(np.asarray(drawn, np.int16) - RED).max(axis=2) < 8).sum() == 0


@pytest.mark.parametrize(
    ("row", "written", "below"),
    [
        (Row("plain", [], gloss="in English"), "plain", "in English"),
        (
            Row("ქართული", [], "Georgian", "Georgian words"),
            "Georgian words",
            "written in Georgian; no font for it here",
        ),
        (Row("ქართული", []), "(Georgian)", "written in Georgian; no font for it here"),
        (Row("🔥", []), "(symbols)", "written in symbols; no font for it here"),
    ],
)
def test_letters_without_a_font_are_described(
    row: Row, written: str, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = contact_sheet.typeface
    monkeypatch.setattr(
        contact_sheet, "typeface", lambda text, size, **more: found(text, size, **more) if text.isascii() else None
    )
    assert choose_words(row) == (written, below)
    draw_sheet(sheet(row))


def test_lines_fit_their_width() -> None:
    lines = wrap_text("several words that do not fit on one line", 20, 150)
    assert " ".join(lines) == "several words that do not fit on one line"
    assert all(text_width(line, 20) <= 150 for line in lines)


def test_a_word_that_does_not_fit_is_cut() -> None:
    lines = wrap_text("Fallschirmspringerausrüstungsgegenstände", 20, 150)
    assert "".join(lines) == "Fallschirmspringerausrüstungsgegenstände"
    assert all(text_width(line, 20) <= 150 for line in lines)


def test_long_queries_get_smaller_and_then_an_ellipsis() -> None:
    assert fit_text("short", 200)[1] == 30
    lines, size = fit_text("many words " * 40, 200)
    assert size < 30
    assert len(lines) == 3
    assert lines[-1].endswith("…")


def test_query_images_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "x.jpg", exif=exif)
    loaded = load_image(str(tmp_path / "x.jpg"))
    assert loaded is not None
    assert loaded.size == (10, 20)
    assert load_image("https://example.org/x.jpg") is None
