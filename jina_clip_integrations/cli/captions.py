"""Captioned images: a file with the columns image and text, as .csv or .jsonl."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

IMAGE, TEXT, LANGUAGE = "image", "text", "language"


@dataclass(frozen=True)
class Caption:
    """A text that describes an image."""

    image: str
    """Absolute path, or URL."""
    text: str
    language: str = ""


def read_captions(file: str) -> list[Caption]:
    """Rows of a .csv or .jsonl file; relative image paths start at the file. Raises `InputError` naming the line."""
    path = Path(file).expanduser()
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix.lower() not in readers:
        raise InputError(f"{file}: captioned images come as .csv or .jsonl with the columns {IMAGE} and {TEXT}")
    rows = readers[path.suffix.lower()](path)
    captions = [_parse_caption(path, line, row) for line, row in rows]
    if not captions:
        raise InputError(f"{file} has no rows")
    return captions


def unique_images(captions: Iterable[Caption]) -> list[str]:
    """Every image once, in the order of first appearance."""
    return list(dict.fromkeys(caption.image for caption in captions))


def _read_csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a byte order mark first
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, row


def _read_jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            # A blank last line is common, and no row.
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: not JSON ({error.msg})") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number}: an object with {IMAGE} and {TEXT} is needed")
            yield number, row


def _parse_caption(path: Path, line: int, row: Mapping[str, Any]) -> Caption:
    image, text = row.get(IMAGE), row.get(TEXT)
    if not isinstance(image, str) or not image.strip() or not isinstance(text, str) or not text.strip():
        raise InputError(f"{path}, line {line}: the columns {IMAGE} and {TEXT} are both needed")
    # Relative to the file, so that a folder of captions can be moved as a whole.
    if not image.startswith(("http://", "https://", "data:")):
        image = str(path.parent / image)
    return Caption(image, text, str(row.get(LANGUAGE) or ""))
