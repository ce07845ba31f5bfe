"""Text of foreign origin on a terminal and in JSON."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_clip_integrations.printable import printable_name, printable_text, to_json

RAW = os.fsdecode(b"caf\xe9.png")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("apple.png", "apple.png"),
        ("日本語 né 🙂.png", "日本語 né 🙂.png"),
        ("a\nb\tc\r.png", r"a\nb\tc\r.png"),
        ("\x1b[31mred\x1b]0;title\x07.png", r"\x1b[31mred\x1b]0;title\x07.png"),
        ("\x9b31m", r"\x9b31m"),
        ("gnp\u202egpj.exe", r"gnp\u202egpj.exe"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),  # a family is joined by a character of no width
        (RAW, r"caf\xe9.png"),
        ("\ud83d", r"\ud83d"),
        ("<b>&amp;</b>.png", "<b>&amp;</b>.png"),
    ],
)
def test_names_are_one_line_that_does_nothing(name: str, shown: str) -> None:
    assert printable_name(name) == shown


def test_texts_keep_their_lines() -> None:
    assert printable_text("a\n\tb \x1b[2J") == "a\n\tb \\x1b[2J"


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_what_is_shown_can_be_printed_anywhere(text: str) -> None:
    for shown in (printable_name(text), printable_text(text)):
        shown.encode()
        assert not any("\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff" for char in shown)
    assert "\n" not in printable_name(text)


@given(
    st.recursive(
        st.text(st.characters(codec=None, exclude_categories=[])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_reads_back_as_it_was(value: object) -> None:
    written = to_json(value)
    written.encode()
    assert "\x1b" not in written
    assert json.loads(written) == value
