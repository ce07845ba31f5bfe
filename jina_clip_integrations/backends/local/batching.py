"""How texts are grouped so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def by_token_budget(lengths: Sequence[int], *, budget: int, most: int | None = None) -> Iterator[list[int]]:
    """Group positions of like length, longest first, so that every group padded to its longest fits `budget` tokens.

    Sorting makes neighbours alike, so padding stays small; longest first makes the peak of memory come first. A text
    longer than the budget is a group of its own. `most` limits the texts per group.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    group: list[int] = []
    for position in order:
        longest = lengths[group[0]] if group else lengths[position]
        if group and ((len(group) + 1) * longest > budget or len(group) == most):
            yield group
            group = []
        group.append(position)
    if group:
        yield group
