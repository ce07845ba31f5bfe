"""Base64 of many rows at once, against the standard library."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_clip_integrations.backends import base64_rows
from jina_clip_integrations.backends.base64_rows import ALPHABET, decode_rows

OTHERS = [*sorted({chr(code) for code in range(256)} - set(ALPHABET.decode())), "€"]


def encoded(rows: np.ndarray) -> list[str]:
    return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(1, 40),
    count=st.integers(1, 9),
    at_once=st.sampled_from([1, 100, 2**17]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_bit_pattern_as_the_standard_library(width: int, count: int, at_once: int, seed: int) -> None:
    raw = np.random.default_rng(seed).integers(0, 2**32, (count, width), np.uint32)
    texts = [base64.b64encode(row.astype("<u4").tobytes()).decode() for row in raw]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64_rows, "AT_ONCE", at_once)
        decoded = decode_rows(texts)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded.view(np.uint32), raw)


def test_rows_may_be_written_to() -> None:
    decoded = decode_rows(encoded(np.ones((2, 3))))
    decoded *= 2
    assert decoded.tolist() == [[2, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize("place", [0, 1, 2, 3, 17, 63])
@pytest.mark.parametrize("width", [12, 13, 14])  # without, with one, with two characters of padding
def test_any_other_character_is_refused(width: int, place: int) -> None:
    good, other = encoded(np.ones((2, width)))
    for character in OTHERS:
        with pytest.raises(ValueError, match=r"base64|ascii"):
            decode_rows([good, other[:place] + character + other[place + 1 :]])


@pytest.mark.parametrize(
    "texts",
    [
        ["", ""],
        ["AAAA", "AAAAAAAA"],
        ["AAAAAAA", "AAAAAAA"],  # not whole groups of four
        ["AAAA", "AAAA"],  # three bytes
        ["AAAAAA==", "AAAAAAA="],  # four bytes and five
        ["AAAAAAA=", "AAAAAA=="],
        ["AA======", "AA======"],
        ["========", "========"],
    ],
)
def test_what_is_no_row_of_float32_is_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"base64|float32"):
        decode_rows(texts)
