"""Queries: the grammar, what is refused and where, and the arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.collections.query import MAX_TERMS, Query, Term, combine
from jina_clip_integrations.errors import InputError


def parts(words: str) -> list[tuple[float, str | None]]:
    return [(term.weight, term.text) for term in Query.parse(words).terms]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("red car", [(1, "red car")]),
        ('red car +beach -snow -"two people"', [(1, "red car"), (1, "beach"), (-0.5, "snow"), (-0.5, "two people")]),
        ("red +beach car", [(1, "red car"), (1, "beach")]),
        ("t-shirt C++ a+b", [(1, "t-shirt C++ a+b")]),
        ("-snow", [(-0.5, "snow")]),
        ("-t-shirt", [(-0.5, "t-shirt")]),
        ('"-snow" white', [(1, "-snow white")]),
        (r"\-snow \+x", [(1, "-snow +x")]),
        ('12" vinyl', [(1, '12" vinyl')]),
        (r'-"a \"b\" \\c"', [(-0.5, 'a "b" \\c')]),
        (r"C:\temp", [(1, r"C:\temp")]),
        ("car +beach^0.5 -snow^2", [(1, "car"), (0.5, "beach"), (-2, "snow")]),
        ('"red car"^2 +beach', [(2, "red car"), (1, "beach")]),
        ('-"two people"^.25', [(-0.25, "two people")]),
        ("x^2", [(1, "x^2")]),
        (r"-x\^2", [(-0.5, "x^2")]),
        ("-x^y", [(-0.5, "x^y")]),
        ("-^2", [(-0.5, "^2")]),
        ("+пляж　-雪", [(1, "пляж"), (-0.5, "雪")]),
    ],
)
def test_the_grammar(words: str, expected: list[tuple[float, str]]) -> None:
    assert parts(words) == expected


@pytest.mark.parametrize(
    ("words", "character", "reason"),
    [
        ('red -"two people', 6, "never closed"),
        ('red "two', 5, "never closed"),
        ("sea - sunset", 5, "no word stands behind -"),
        ("car +", 5, "no word stands behind +"),
        ("car --snow", 6, "two operators"),
        ('-""', 1, "nothing stands there"),
        ('"  "', 1, "nothing stands there"),
        ('-"two people"s', 14, "blank is missing"),
        ("-snow^0", 6, "weight must be a number above 0"),
        ('"snow"^0.0 x', 7, "weight must be a number above 0"),
        (r'"open \"', 1, "never closed"),
    ],
)
def test_where_a_query_is_not_understood(words: str, character: int, reason: str) -> None:
    with pytest.raises(InputError, match=f"at character {character}: .*{reason.replace('+', '[+]')}"):
        Query.parse(words)


@pytest.mark.parametrize("words", ["", " \t", "　"])
def test_a_blank_query(words: str) -> None:
    with pytest.raises(InputError, match="the query is blank"):
        Query.parse(words)


def test_too_many_parts() -> None:
    assert len(Query.parse("+a " * MAX_TERMS).terms) == MAX_TERMS
    with pytest.raises(InputError, match="at most 64"):
        Query.parse("+a " * (MAX_TERMS + 1))


@pytest.mark.parametrize("words", ["red -red", "Red  car -'x' -\"red car\"", "+red -red +blue"])
def test_what_is_asked_for_and_taken_away(words: str) -> None:
    with pytest.raises(InputError, match="cancels itself out: it asks for 'red"):
        Query.parse(words)


def test_parts_that_are_given_one_by_one() -> None:
    query = Query.of("-not an operator", plus=["beach"], minus=[Term(0.3, text="snow"), "rain"], similar_to="a.png")
    assert [term.weight for term in query.terms] == [1, 1, 1, -0.3, -0.5]
    assert query.terms[0].text == "-not an operator"
    assert query.stored == ("a.png",)
    assert (Query.parse("red") + query).terms[0].text == "red"


@pytest.mark.parametrize("given", [{}, {"text": "a", "image": "b"}, {"text": " "}, {"text": "a", "weight": 0.0}])
def test_a_term_is_one_thing_with_a_weight(given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Term(**given)


def test_sums_are_of_unit_vectors() -> None:
    rows = np.array([[3, 0, 0], [0, 0.1, 0], [0, 0, 7]], np.float32)
    summed = combine(rows, [1, 2, -2])
    np.testing.assert_allclose(summed, np.array([1, 2, -2]) / 3, atol=1e-6)
    np.testing.assert_allclose(combine(rows[:1], [5]), [1, 0, 0])
    np.testing.assert_allclose(combine(rows[:1], [-5]), [-1, 0, 0])


@pytest.mark.parametrize("weights", [[1, -1], [1000, -1000], [1e-6, -1e-6]])
def test_a_query_that_cancels_itself_out(weights: list[float]) -> None:
    rows = np.array([[1, 2, 3], [1, 2, 3]], np.float32)
    with pytest.raises(InputError, match="cancels itself out"):
        combine(rows, weights)
    combine(rows, [1, 1])
