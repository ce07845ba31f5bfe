"""Rows in base64, against the standard library's encoder."""

from __future__ import annotations

import base64
from string import ascii_letters, digits

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_clip_integrations.backends.remote.encodings import Expected, decode
from jina_clip_integrations.errors import InvalidResponseError

OTHERS = [*sorted({chr(code) for code in range(256)} - set(ascii_letters + digits + "+/")), "€"]
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def encoded(rows: np.ndarray) -> list[str]:
    return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 40), count=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), value=FINITE)
def test_every_bit_survives(width: int, count: int, seed: int, value: float) -> None:
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    rows[0, width // 2] = value or 1.0
    decoded = decode(encoded(rows), Expected(items=count))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded.view(np.uint32), rows.view(np.uint32))


@pytest.mark.parametrize("count", [1, 20])
def test_rows_may_be_written_to(count: int) -> None:
    decoded = decode(encoded(np.ones((count, 3))), Expected(items=count))
    decoded *= 2
    assert decoded.tolist() == [[2, 2, 2]] * count


@pytest.mark.parametrize("place", [0, 1, 2, 3, 17, 63])
@pytest.mark.parametrize("width", [12, 13, 14])  # without, with one, with two characters of padding
def test_any_other_character_is_refused(width: int, place: int) -> None:
    texts = encoded(np.ones((20, width)))
    other = texts[7]
    for character in OTHERS:
        texts[7] = other[:place] + character + other[place + 1 :]
        with pytest.raises(InvalidResponseError, match=r"base64|float32") as caught:
            decode(texts, Expected(items=20))
        assert caught.value.positions == (7,)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "AAAAAAA",  # not whole groups of four
        "AAAA",  # three bytes
        "AAAAAAA=",  # five bytes
        "AA======",
        "========",
        "AACAPwAA",  # six bytes
        "AACAPwAAgD8=",  # eight bytes: a row, but wider than the others
    ],
)
def test_what_is_no_row_of_that_width_is_refused(wrong: str) -> None:
    texts = ["AACAPw=="] * 20  # 1.0
    assert decode(texts, Expected(items=20)).tolist() == [[1.0]] * 20
    texts[3] = wrong
    with pytest.raises(InvalidResponseError, match=r"base64|float32|dimensions|width"):
        decode(texts, Expected(items=20))
