"""Halves: nothing is lost, nothing comes twice, and every group gets smaller."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jina_clip_integrations.concurrency.isolation import halve


@pytest.mark.parametrize("count", range(9))
def test_nothing_is_lost_and_the_order_stays(count: int) -> None:
    items = list(range(count))
    first, second = halve(items)
    assert [*first, *second] == items
    assert len(first) - len(second) in (0, 1)


def test_a_tuple_stays_one() -> None:
    assert halve((1, 2, 3)) == ((1, 2), (3,))


@pytest.mark.parametrize("bad", [0, 5, 63])
def test_one_bad_item_of_many_is_found_in_few_tries(bad: int) -> None:
    tries: list[Sequence[int]] = []
    good: list[int] = []

    def attempt(items: Sequence[int]) -> None:
        tries.append(items)
        if bad not in items:
            good.extend(items)
        elif len(items) > 1:
            for half in halve(items):
                attempt(half)

    attempt(range(64))
    assert sorted(good) == [item for item in range(64) if item != bad]
    assert len(tries) == 1 + 2 * 6
