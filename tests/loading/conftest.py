"""Files of vectors whose rows can be told apart, and every store that they can be loaded into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loading.stores import STORES, Store
from tests.loading.tables import write_table
from tests.stores.conftest import new_place, postgres_server, stores_here

__all__ = ["new_place", "postgres_server"]


@pytest.fixture(params=stores_here(STORES))
def store(request: pytest.FixtureRequest, new_place: Callable[[str], str]) -> Store:
    """A new, empty place in each of the stores."""
    return STORES[request.param](new_place(request.param))


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., str]:
    """`table("x.parquet", rows=30, …)` writes a file of vectors and returns its path."""

    def write(name: str = "vectors.parquet", **options: Any) -> str:
        return write_table(tmp_path / name, **options)

    return write
