"""Which files of a folder can be embedded, and whether they changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from jina_clip_integrations.collections.scan import (
    file_digest,
    file_modality,
    read_stamp,
    read_text,
    resolve_folder,
    scan,
)
from jina_clip_integrations.errors import InputError


def test_a_scan_is_in_a_stable_order_without_what_is_of_no_use(folder: Path) -> None:
    found = list(scan(folder))
    assert [file.name for file in found] == ["apple.png", "leaf.jpg", "list.txt", "trip/notes.md", "trip/sea.png"]
    assert [file.modality for file in found] == ["image", "image", "text", "text", "image"]
    assert all(file.path.is_file() for file in found)


def test_hidden_folders_and_the_one_to_leave_out_are_not_entered(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "note.txt").write_text("no", "utf-8")
    assert [file.name for file in scan(folder, exclude=folder / "trip")] == ["apple.png", "leaf.jpg", "list.txt"]


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("a.PNG", "image"),
        ("a.jpeg", "image"),
        ("a.webp", "image"),
        ("a.tiff", "image"),
        ("a.gif", "image"),
        ("a.md", "text"),
        ("a.TXT", "text"),
        ("a.pdf", None),
        ("a.eps", None),
        ("a.py", None),
        ("png", None),
    ],
)
def test_the_extension_tells_what_a_file_holds(name: str, modality: str | None) -> None:
    assert file_modality(name) == modality


@pytest.mark.parametrize(("name", "said"), [("apple.png", "a file"), ("nowhere", "no folder")])
def test_a_folder_must_be_one(folder: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve_folder(str(folder / name))


def test_a_stamp_tells_size_and_time_and_a_digest_the_content(folder: Path) -> None:
    path = folder / "list.txt"
    before = read_stamp(path)
    assert before.size == len("a red tomato")
    assert before.is_unchanged(read_stamp(path))
    assert file_digest(path) == hashlib.sha256(b"a red tomato").hexdigest()
    path.write_text("a red tomatos", "utf-8")
    assert not before.is_unchanged(read_stamp(path))


def test_a_byte_order_mark_is_not_text_and_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(path) == "hello"
    path.write_bytes(b"gr\xfc\xdfe")
    with pytest.raises(InputError, match=r"x\.txt is not UTF-8 text \(byte 2\)"):
        read_text(path)
