"""A database in a folder, three images, and a backend that the registry holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lancedb
import pytest
from lancedb.embeddings import get_registry

from tests.adapters import backend, images

__all__ = ["backend", "database", "images", "variable"]


@pytest.fixture
def database(tmp_path: Path) -> Any:
    return lancedb.connect(str(tmp_path / "lancedb"))


@pytest.fixture
def variable(backend: Any) -> Iterator[str]:
    """The variable of the registry that holds the backend."""
    registry = get_registry()
    registry.set_var("backend", backend)
    yield "$var:backend"
    registry._variables.clear()
