"""The cluster of the tests."""

from __future__ import annotations

from typing import Any

import ray.data


def test_it_computes(ray_driver: Any) -> None:
    rows = ray.data.from_items([{"n": n} for n in range(4)]).map(lambda row: {"n": row["n"] + 1}).take_all()
    assert sorted(row["n"] for row in rows) == [1, 2, 3, 4]
