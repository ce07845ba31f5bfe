"""A client of a real store in a folder, and three images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chromadb
import pytest

from tests.adapters import backend, images

__all__ = ["backend", "client", "images"]


@pytest.fixture
def client(tmp_path: Path) -> Any:
    return chromadb.PersistentClient(str(tmp_path / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False))
