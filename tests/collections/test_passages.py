"""Cutting texts into passages."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_clip_integrations.collections.passages import split_passages


def test_a_short_text_is_one_passage() -> None:
    assert split_passages("One.\n\nTwo.") == ["One.\n\nTwo."]


@pytest.mark.parametrize("blank", ["", " ", "\n\n \t\n"])
def test_a_blank_text_has_none(blank: str) -> None:
    assert split_passages(blank) == []


def test_paragraphs_are_joined_while_they_fit() -> None:
    assert split_passages("aaaa\n\nbbbb\n\ncccc", max_characters=10) == ["aaaa\n\nbbbb", "cccc"]


def test_headings_start_a_passage_and_stay_with_their_text() -> None:
    text = "# Book\n\n## Part\n\nFirst.\n\n## Other\n\nSecond."
    assert split_passages(text) == ["# Book\n\n## Part\n\nFirst.", "## Other\n\nSecond."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three four! Five six?", ["One two. Three four!", "Five six?"]),
        ("今日は雨です。明日は晴れです。とても寒いです。", ["今日は雨です。明日は晴れです。", "とても寒いです。"]),
        ("alpha beta gamma delta epsilon", ["alpha beta gamma", "delta epsilon"]),
        ("x" * 45, ["x" * 20, "x" * 20, "xxxxx"]),
    ],
)
def test_long_paragraphs_are_cut_at_sentences_then_words_then_anywhere(text: str, expected: list[str]) -> None:
    assert split_passages(text, max_characters=20) == expected


def test_windows_line_ends_are_line_ends() -> None:
    assert split_passages("One.\r\n\r\nTwo.", max_characters=5) == ["One.", "Two."]


@given(st.text(alphabet="ab. \n#。é", max_size=300), st.integers(3, 50))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, max_characters: int) -> None:
    found = split_passages(text, max_characters=max_characters)
    assert all(0 < len(passage) <= max_characters for passage in found)
    assert re.sub(r"\s", "", "".join(found)) == re.sub(r"\s", "", text)
