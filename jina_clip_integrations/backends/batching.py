"""How texts are grouped so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

MAX_PADDING = 0.04
"""Share of padding past which a group is closed, once it is large enough for the matrix kernels."""

MIN_FILL = 0.25
"""Share of the budget from which a group counts as large enough."""


def by_token_budget(
    lengths: Sequence[int], *, budget: int, max_texts: int | None = None, pads: bool = True
) -> Iterator[list[int]]:
    """Group positions of like length, longest first, so that every group padded to its longest fits `budget` tokens.

    Sorting makes neighbours alike, so padding stays small; with the longest first, memory peaks at the start, where a
    job that does not fit fails early. A text longer than the budget is a group of its own. `max_texts` limits the texts
    per group. Without `pads` the rows of a group are not padded, so that only real tokens count.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    group: list[int] = []
    tokens = 0
    for position in order:
        padded = (len(group) + 1) * lengths[group[0]] if group and pads else tokens + lengths[position]
        # A group that fills the kernels gains nothing from one more text, and loses by padding it.
        wasteful = padded - tokens - lengths[position] > MAX_PADDING * padded and padded > MIN_FILL * budget
        if group and (padded > budget or len(group) == max_texts or wasteful):
            yield group
            group, tokens = [], 0
        group.append(position)
        tokens += lengths[position]
    if group:
        yield group
