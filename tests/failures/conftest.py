"""Where the tests of this folder write: in memory where there is room, since SQLite waits for a disk at every commit.

A killed process leaves the same behind on either.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_MEMORY = Path("/dev/shm")
NEEDED_BYTES = 500 * 2**20


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own."""
    if not IN_MEMORY.is_dir() or shutil.disk_usage(IN_MEMORY).free < NEEDED_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield Path(folder)
