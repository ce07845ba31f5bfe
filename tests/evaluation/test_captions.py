"""Reading captioned images: tables of three formats, and folders with texts beside images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from jina_clip_integrations.errors import InputError
from jina_clip_integrations.evaluation.captions import Caption, captions_task, read_captions

CSV = 'image,text,language\na.png,one,en\nb.png,"two, too",de\nhttps://example.org/c.png,three,\n'
JSONL = """{"image": "a.png", "text": "one", "language": "en"}
{"image": "b.png", "text": "two, too", "language": "de", "more": 1}

{"image": "https://example.org/c.png", "text": "three"}
"""


@pytest.fixture
def here(tmp_path: Path, paint: Any) -> Path:
    for name, colour in (("a.png", "red"), ("b.png", "green"), ("deep/c.png", "blue")):
        paint(tmp_path / name, colour)
    return tmp_path


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(("name", "content"), [("x.csv", CSV), ("x.jsonl", JSONL), ("x.csv", "\ufeff" + CSV)])
def test_formats_say_the_same(here: Path, name: str, content: str) -> None:
    assert read_captions(write(here / name, content)) == [
        Caption(str(here / "a.png"), "one", "en"),
        Caption(str(here / "b.png"), "two, too", "de"),
        Caption("https://example.org/c.png", "three", ""),
    ]


@pytest.mark.parametrize("as_struct", [True, False])
def test_parquet_may_hold_the_images(here: Path, as_struct: bool) -> None:
    content = (here / "a.png").read_bytes()
    images = [{"bytes": content, "path": "red.png"}] if as_struct else [content]
    table = pyarrow.table({"image": images, "captions": [["one", "two"]], "lang": ["en"]})
    pyarrow.parquet.write_table(table, here / "x.parquet")
    task = captions_task(here / "x.parquet")
    assert task.corpus == [{"image": content}]
    assert [query["text"] for query in task.queries] == ["one", "two"]
    assert task.languages == ["en", "en"]


def test_several_captions_of_an_image_and_several_images_of_a_caption(here: Path) -> None:
    rows = [
        {"image": "a.png", "captions": ["one", "both"]},
        {"image": ["b.png", "deep/c.png"], "caption": "both"},
        {"image": "a.png", "caption": "both", "language": "de"},
    ]
    task = captions_task(write(here / "x.jsonl", "\n".join(map(json.dumps, rows))))
    assert [Path(name).name for name in task.corpus_ids] == ["a.png", "b.png", "c.png"]
    assert dict(zip(task.query_ids, task.relevance, strict=True)) == {
        "one": {0: 1}, "both": {0: 1, 1: 1, 2: 1}, "de:both": {0: 1},
    }  # fmt: skip


def test_a_repeated_row_counts_once_and_is_told(here: Path) -> None:
    task = captions_task(write(here / "x.csv", "image,text\na.png,one\na.png,one\nb.png,two\n"))
    assert len(task.queries) == 2
    assert task.notes == ["1 rows repeat an image and its text; each counts once"]


def test_a_folder_of_images_and_texts(here: Path) -> None:
    write(here / "a.txt", "one\n\n uno \n")
    write(here / "a.de.txt", "eins")
    write(here / "deep" / "c.pt-BR.txt", "três")
    task = captions_task(here)
    assert [(query["text"], language) for query, language in zip(task.queries, task.languages, strict=True)] == [
        ("eins", "de"), ("one", ""), ("uno", ""), ("três", "pt-BR"),
    ]  # fmt: skip
    assert [Path(name).name for name in task.corpus_ids] == ["a.png", "c.png", "b.png"]
    assert "b.png" in task.notes[0]


@pytest.mark.parametrize("name", ["captions.csv", "metadata.csv"])
def test_a_folder_with_a_table(here: Path, name: str) -> None:
    write(here / name, "file_name,text\na.png,one\n")
    assert [query["text"] for query in captions_task(here).queries] == ["one"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "image,words\na.png,one\n", r"none of the columns text, caption.*it has image, words"),
        ("x.csv", "photo,text\na.png,one\n", r"none of the columns image, file_name.*it has photo, text"),
        ("x.csv", "image,text\na.png, \n", "line 2: an image without a caption"),
        ("x.csv", "image,text\na.png,one\n,two\n", "line 3: a caption without an image"),
        ("x.csv", "image,text\n", "no rows"),
        ("x.csv", "", "no rows"),
        ("x.csv", "image,text\na.png,one,two\n", "line 2: more fields"),
        ("x.csv", "image,text\na.png,one\nnowhere.png,two\n", r"line 3: there is no image .*nowhere\.png"),
        ("x.csv", b"image,text\na.png,one\n" + b"b.png,caf\xe9\n", "line 3: not UTF-8"),
        ("x.csv", "image,text\na.png,one\n".encode("utf-16"), "line 1: not UTF-8"),
        ("x.jsonl", '{"image": "a.png", "text": "one"}\n{"image": 3, "text": "two"}\n', "line 2: image is int"),
        ("x.jsonl", '{"image": "a.png", "text": 7}\n', "line 1: text is int"),
        ("x.jsonl", "{broken\n", "line 1: not JSON"),
        ("x.jsonl", "[1]\n", "line 1: an object"),
        ("x.parquet", "no", "not a Parquet file"),
        ("x.txt", "", r"must end in \.csv"),
    ],
)
def test_what_is_wrong_is_named_by_line(here: Path, name: str, content: str | bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        captions_task(write(here / name, content))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"nothing.txt": "one"}, "a caption without an image"),
        ({"a.txt": " \n"}, "is empty"),
        ({"a.txt": b"\xff"}, "not UTF-8"),
        ({}, "no captions"),
        ({"captions.csv": "image,text\n", "metadata.jsonl": ""}, r"captions\.csv and metadata\.jsonl"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(here: Path, files: dict[str, str | bytes], said: str) -> None:
    for name, content in files.items():
        write(here / name, content)
    with pytest.raises(InputError, match=said):
        captions_task(here)


def test_two_images_of_one_name_are_refused(here: Path, paint: Any) -> None:
    paint(here / "a.jpg", "red")
    with pytest.raises(InputError, match="share their name"):
        captions_task(here)
