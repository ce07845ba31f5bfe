"""Reading captioned images."""

from __future__ import annotations

from pathlib import Path

import pytest
from jina_clip_integrations.cli.captions import Caption, read_captions, unique_images

from jina_clip_integrations.errors import InputError

CSV = 'image,text,language\na.png,one,en\nb.png,"two, too",de\nhttps://example.org/c.png,three,\n'
JSONL = """{"image": "a.png", "text": "one", "language": "en"}
{"image": "b.png", "text": "two, too", "language": "de", "more": 1}

{"image": "https://example.org/c.png", "text": "three"}
"""


@pytest.mark.parametrize(("name", "content"), [("x.csv", CSV), ("x.jsonl", JSONL), ("x.csv", "\ufeff" + CSV)])
def test_both_formats_say_the_same(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    assert read_captions(str(tmp_path / name)) == [
        Caption(str(tmp_path / "a.png"), "one", "en"),
        Caption(str(tmp_path / "b.png"), "two, too", "de"),
        Caption("https://example.org/c.png", "three", ""),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "image,caption\na.png,one\n", "line 2: the columns image and text"),
        ("x.csv", "image,text\na.png, \n", "line 2"),
        ("x.csv", "image,text\n", "no rows"),
        ("x.jsonl", '{"image": "a.png", "text": "one"}\n{"image": 3, "text": "two"}\n', "line 2"),
        ("x.jsonl", "{broken\n", "line 1: not JSON"),
        ("x.jsonl", "[1]\n", "line 1: an object"),
        ("x.tsv", "", ".csv or .jsonl"),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(InputError, match=said):
        read_captions(str(tmp_path / name))


def test_an_image_with_two_captions_is_one_image() -> None:
    captions = [Caption("b", "1"), Caption("a", "2"), Caption("b", "3")]
    assert unique_images(captions) == ["b", "a"]
