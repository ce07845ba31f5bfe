"""Captioned images: a .csv, .jsonl or .parquet file with a row per caption, or a folder with texts beside images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..collections.scan import scan
from ..errors import InputError
from ..types import Item
from .files import Row, find_image, read_rows, read_text
from .task import RetrievalTask, caption_task

IMAGE_COLUMNS = ("image", "file_name", "path", "url")
TEXT_COLUMNS = ("text", "caption", "captions", "texts")
LANGUAGE_COLUMNS = ("language", "lang")

TABLES = tuple(f"{name}.{kind}" for name in ("captions", "metadata") for kind in ("csv", "jsonl", "parquet"))
"""What a table of captions in a folder of images is called; `metadata` is the name that `datasets` knows."""

LANGUAGE_SUFFIX = re.compile(r"^(?P<stem>.+)\.(?P<language>[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)$")
"""`apple.pt-BR` of `apple.pt-BR.txt`."""

MAX_SHOWN = 3
"""Names in a message; the rest is counted."""


@dataclass(frozen=True)
class Caption:
    """A text that describes an image."""

    image: str
    """Absolute path, URL, or the name of an image whose bytes stand in the table."""
    text: str
    language: str = ""
    content: bytes | None = field(default=None, repr=False)
    """The encoded image, where the table holds it."""


def captions_task(source: Path) -> RetrievalTask:
    """A file of captioned images, or a folder of images and captions, as a task.

    Raises `InputError` that names file and line: columns that are not there, a caption without an image, a row
    without a text, an image that does not exist.
    """
    table = find_table(source) if source.is_dir() else source
    if table is not None:
        captions = read_captions(table)
        return _make_task(source, captions, [])
    return _make_task(source, *read_folder(source))


def find_table(folder: Path) -> Path | None:
    """The table of captions in a folder. Raises `InputError` if there are several."""
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} has {' and '.join(path.name for path in found)}; name the file that is meant")
    return found[0] if found else None


def read_captions(file: Path) -> list[Caption]:
    """Rows of a table; relative image paths start at the file. Raises `InputError` naming the line."""
    captions = [caption for line, row in read_rows(file) for caption in _parse_row(file, line, row)]
    if not captions:
        raise InputError(f"{file} has no rows")
    return captions


def read_folder(folder: Path) -> tuple[list[Caption], list[str]]:
    """Captions in `apple.txt` or `apple.de.txt` beside `apple.png`, one per line, and images without any."""
    files = [(file.path, file.modality) for file in scan(folder)]
    images = [path for path, modality in files if modality == "image"]
    by_stem: dict[Path, Path] = {}
    for image in images:
        stem = image.with_suffix("")
        if stem in by_stem:
            raise InputError(f"{image} and {by_stem[stem].name} share their name, and so would their captions")
        by_stem[stem] = image
    captions = [caption for path, modality in files if modality == "text" for caption in _read_beside(path, by_stem)]
    if not captions:
        raise InputError(
            f"{folder} has no captions: neither {', '.join(TABLES[:3])} nor texts such as photo.txt beside photo.jpg"
        )
    named = {caption.image for caption in captions}
    return captions, [str(image) for image in images if str(image) not in named]


def _read_beside(text: Path, by_stem: dict[Path, Path]) -> Iterator[Caption]:
    stem, language = text.with_suffix(""), ""
    match = LANGUAGE_SUFFIX.match(stem.name)
    # An image may be called apple.de.png, and apple.de.txt is then its caption in no special language.
    if stem not in by_stem and match:
        stem, language = stem.with_name(match["stem"]), match["language"]
    if stem not in by_stem:
        raise InputError(f"{text}: a caption without an image (there is no image called {stem.name})")
    lines = [line.strip() for line in read_text(text).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{text} is empty; a caption is needed, or no file")
    return (Caption(str(by_stem[stem]), line, language) for line in lines)


def _parse_row(file: Path, line: int, row: Row) -> Iterator[Caption]:
    image_column, text_column = _find_column(file, row, IMAGE_COLUMNS), _find_column(file, row, TEXT_COLUMNS)
    language = next((row[name] for name in LANGUAGE_COLUMNS if row.get(name)), "")
    images, texts = _as_list(row[image_column]), _as_list(row[text_column])
    if not images:
        raise InputError(f"{file}, line {line}: a caption without an image (column {image_column})")
    if not texts:
        raise InputError(f"{file}, line {line}: an image without a caption (column {text_column})")
    for value in images:
        name, content = _parse_image(file, line, value, image_column)
        for text in texts:
            if not isinstance(text, str):
                raise InputError(f"{file}, line {line}: {text_column} is {type(text).__name__}, not a text")
            yield Caption(name, text, str(language), content)


def _find_column(file: Path, row: Row, names: Sequence[str]) -> str:
    for name in names:
        if name in row:
            return name
    found = ", ".join(map(str, row)) or "none"
    raise InputError(f"{file}: none of the columns {', '.join(names)}; it has {found}")


def _as_list(value: Any) -> list[Any]:
    """One value or several, without what is blank."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one is not None and not (isinstance(one, str) and not one.strip())]


def _parse_image(file: Path, line: int, value: Any, column: str) -> tuple[str, bytes | None]:
    """The name of an image, and its bytes where the table holds them (`datasets` writes them with a path)."""
    path, content = (value.get("path"), value.get("bytes")) if isinstance(value, dict) else (value, None)
    if isinstance(path, bytes):
        path, content = None, path
    if content is not None:
        return str(path or f"{file.name}:{line}"), content
    if not isinstance(path, str):
        raise InputError(
            f"{file}, line {line}: {column} is {type(value).__name__}, not a path, a URL or an image's bytes"
        )
    return find_image(file, line, path), None


def _make_task(source: Path, captions: Iterable[Caption], bare: Sequence[str]) -> RetrievalTask:
    images: dict[str, Item] = {}
    rows: dict[tuple[str, str, str], None] = {}
    repeated = 0
    for caption in captions:
        content = caption.image if caption.content is None else caption.content
        images.setdefault(caption.image, {"image": content})
        key = (caption.image, caption.text, caption.language)
        repeated += key in rows
        rows[key] = None
    images |= {image: {"image": image} for image in bare}
    positions = {image: number for number, image in enumerate(images)}
    notes = [f"{repeated} rows repeat an image and its text; each counts once"] * bool(repeated)
    notes += [f"{_show(bare)} without a caption: nothing asks for them, but they can be found"] * bool(bare)
    named = [(positions[image], text, language) for image, text, language in rows]
    return caption_task(str(source), list(images.values()), list(images), named, notes)


def _show(names: Sequence[str]) -> str:
    shown = ", ".join(Path(name).name for name in names[:MAX_SHOWN])
    return f"{len(names)} images ({shown}{', ...' if len(names) > MAX_SHOWN else ''})"
