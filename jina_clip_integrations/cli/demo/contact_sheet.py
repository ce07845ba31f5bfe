"""The contact sheet of `jina-clip demo`: each query with its best images, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .typefaces import script_name, typeface

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

SCALE = 2
"""Pixels per unit of the layout, so that the sheet is sharp on dense screens."""

MARGIN = 44
GUTTER = 14
QUERY_WIDTH = 270
CELL_WIDTH = 138
IMAGE = 96
ROW_HEIGHT = 192
HEADER_HEIGHT = 118
FOOTER_LINE = 20
LABEL_STEP, GLOSS_STEP, LEADING = 24, 19, 1.3

PAPER, CARD = "#f3f0ea", "#ffffff"
INK, MUTED, FAINT = "#1f2430", "#6b7080", "#e4dfd5"
ACCENT, RIGHT = "#2f6f6a", "#3d9a6c"


@dataclass(frozen=True)
class Hit:
    """An image that answers a query."""

    image: Image
    name: str
    score: float
    is_right: bool = False
    """Whether it is what was asked for, where that is known."""


@dataclass(frozen=True)
class Row:
    """A query and its answers, best first."""

    query: str
    hits: Sequence[Hit]
    language: str = ""
    gloss: str = ""
    """The query in English, for a reader who does not know its language or a machine without its letters."""
    image: Image | None = None
    """The query itself where it is an image."""


@dataclass(frozen=True)
class Sheet:
    """All that is on the sheet."""

    title: str
    subtitle: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @cached_property
    def columns(self) -> int:
        """Hits in the longest row."""
        return max((len(row.hits) for row in self.rows), default=0)

    @property
    def width(self) -> int:
        """In units of the layout."""
        return 2 * MARGIN + QUERY_WIDTH + max(self.columns, 3) * CELL_WIDTH + GUTTER + 8

    @property
    def height(self) -> int:
        """In units of the layout."""
        return HEADER_HEIGHT + len(self.rows) * (ROW_HEIGHT + GUTTER) + FOOTER_LINE * len(self.footer) + MARGIN

    @cached_property
    def footer(self) -> list[str]:
        """The notes in lines that fit."""
        return [line for note in self.notes for line in wrap_text(note, 13, self.width - 2 * MARGIN)]


def load_image(file: str) -> Image | None:
    """The image of a file, upright; None for what is no file here, such as a URL."""
    from PIL import Image, ImageOps

    path = Path(file).expanduser()
    return ImageOps.exif_transpose(Image.open(path)) if path.is_file() else None


def draw_sheet(sheet: Sheet) -> Image:
    """The sheet as an RGB image, `SCALE` pixels per unit of its size."""
    pen = Pen(sheet.width, sheet.height)
    pen.text((MARGIN, 62), sheet.title, 32, bold=True)
    pen.text((MARGIN, 92), sheet.subtitle, 16, colour=MUTED)
    top = HEADER_HEIGHT
    for row in sheet.rows:
        draw_row(pen, row, top)
        top += ROW_HEIGHT + GUTTER
    for line in sheet.footer:
        pen.text((MARGIN, top + 16), line, 13, colour=MUTED)
        top += FOOTER_LINE
    return pen.canvas


def draw_row(pen: Pen, row: Row, top: int) -> None:
    """One query on its card."""
    pen.box((MARGIN, top, pen.width - MARGIN, top + ROW_HEIGHT), CARD, radius=16)
    left = MARGIN + 24
    if row.image is not None:
        pen.image(row.image, (left, top + 30), 132)
    else:
        draw_query(pen, row, left, top)
    if not row.hits:
        pen.text((MARGIN + QUERY_WIDTH, top + ROW_HEIGHT // 2 + 5), "nothing found", 16, colour=MUTED)
    for rank, hit in enumerate(row.hits):
        draw_hit(pen, hit, MARGIN + QUERY_WIDTH + rank * CELL_WIDTH, top)


def draw_query(pen: Pen, row: Row, left: int, top: int) -> None:
    """Language, the words themselves, and what they mean; words without a font here are described instead."""
    width = QUERY_WIDTH - 48
    # The block of language, words and meaning is centred on the card.
    words, gloss = choose_words(row)
    lines, size = fit_text(words, width)
    below = limit_lines(wrap_text(gloss, 14, width), 2) if gloss else []
    height = LABEL_STEP * bool(row.language) + len(lines) * size * LEADING + len(below) * GLOSS_STEP
    baseline = top + (ROW_HEIGHT - height) / 2
    if row.language:
        pen.text((left, baseline + 12), row.language.upper(), 12, colour=ACCENT, bold=True)
        baseline += LABEL_STEP
    for line in lines:
        pen.text((left, baseline + size), line, size)
        baseline += size * LEADING
    for line in below:
        baseline += GLOSS_STEP
        pen.text((left, baseline + 4), line, 14, colour=MUTED)


def draw_hit(pen: Pen, hit: Hit, left: int, top: int) -> None:
    """Draw one result: the image, its name, its score."""
    middle = left + CELL_WIDTH / 2
    tile = IMAGE + 16
    x = middle - tile / 2
    frame = (x, top + 14, x + tile, top + 14 + tile)
    pen.box(frame, CARD, radius=12, outline=RIGHT if hit.is_right else FAINT, line=3 if hit.is_right else 1.5)
    pen.image(hit.image, (x + 8, top + 22), IMAGE)
    baseline = top + 14 + tile + 18
    for line in limit_lines(wrap_text(hit.name, 12, CELL_WIDTH - 12), 2):
        pen.text((middle, baseline), line, 12, anchor="ms")
        baseline += 15
    colour = RIGHT if hit.is_right else MUTED
    pen.text((middle, baseline + 2), f"{hit.score:.2f}", 13, colour=colour, anchor="ms", bold=True)


def choose_words(row: Row) -> tuple[str, str]:
    """What to write as the query and below it; without a font for its letters the gloss, or the script's name."""
    if typeface(row.query, 24) is not None:
        return row.query, row.gloss
    letters = f"written in {row.language or script_name(row.query)}; no font for it here"
    return (row.gloss, letters) if row.gloss else (f"({script_name(row.query)})", letters)


def fit_text(text: str, width: float) -> tuple[list[str], int]:
    """The text in lines of at most `width`, and the largest size at which three lines are enough."""
    # Large for a word or two, smaller for a sentence; at the smallest size the rest is cut off.
    for size in (30, 26, 22, 18):
        lines = wrap_text(text, size, width)
        if len(lines) <= 2 or size == 18:
            break
    return limit_lines(lines, 3), size


def limit_lines(lines: list[str], max_lines: int) -> list[str]:
    """At most `max_lines` lines; an ellipsis where some were left out."""
    return lines if len(lines) <= max_lines else [*lines[: max_lines - 1], f"{lines[max_lines - 1].rstrip()}…"]


def wrap_text(text: str, size: int, width: float) -> list[str]:
    """Lines of at most `width`; only a word that is longer by itself, or a text without spaces, is cut inside."""
    # Chinese and Japanese are written without spaces and may break anywhere.
    words = text.split(" ") if " " in text else [text]
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size) <= width:
            lines[-1] = joined
        else:
            lines += _split_word(word, size, width)
    return lines


def _split_word(word: str, size: int, width: float) -> list[str]:
    lines = [""]
    for character in word:
        if lines[-1] and text_width(lines[-1] + character, size) > width:
            lines.append("")
        lines[-1] += character
    return lines


def text_width(text: str, size: int) -> float:
    """Width of a line in units of the layout."""
    # Without a font nothing is drawn, but the layout still needs some width.
    font = typeface(text, size * SCALE)
    return font.getlength(text) / SCALE if font else float(len(text) * size)


class Pen:
    """Draws in units of the layout on a canvas that has `SCALE` pixels per unit."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self.width = width
        self.canvas = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
        self._draw = ImageDraw.Draw(self.canvas)

    def text(
        self,
        at: tuple[float, float],
        text: str,
        size: int,
        *,
        colour: str = INK,
        bold: bool = False,
        anchor: str = "ls",
    ) -> None:
        """One line of text; `anchor` says, as in Pillow, which point of it is at `at` (left end of the baseline)."""
        font = self._font(text, size, bold=bold)
        if font is not None:
            self._draw.text((at[0] * SCALE, at[1] * SCALE), text, fill=colour, font=font, anchor=anchor)

    def box(
        self,
        corners: tuple[float, float, float, float],
        colour: str,
        *,
        radius: int,
        outline: str | None = None,
        line: float = 0,
    ) -> None:
        """A filled box with round corners."""
        x0, y0, x1, y1 = (corner * SCALE for corner in corners)
        pixels = round(line * SCALE)
        self._draw.rounded_rectangle((x0, y0, x1, y1), radius * SCALE, fill=colour, outline=outline, width=pixels)

    def image(self, image: Image, at: tuple[float, float], side: int) -> None:
        """An image fitted into a square, on white where it is transparent."""
        from PIL import Image, ImageOps

        # By way of RGBA, so that palette images keep their transparency and are pasted through it.
        fitted = ImageOps.contain(image.convert("RGBA"), (side * SCALE, side * SCALE), Image.Resampling.LANCZOS)
        x = round(at[0] * SCALE) + (side * SCALE - fitted.width) // 2
        y = round(at[1] * SCALE) + (side * SCALE - fitted.height) // 2
        self.canvas.paste(fitted, (x, y), fitted)

    @staticmethod
    def _font(text: str, size: int, *, bold: bool) -> FreeTypeFont | None:
        return typeface(text, size * SCALE, bold=bold)
