"""Pictures, texts, a PostgreSQL server, and a second process that opens what the first has written."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.colours import AXES

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Paths of three pictures of equal size and different colour."""
    paths = []
    for name, colour in AXES.items():
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (12, 10), colour).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def texts() -> list[str]:
    return ["a green meadow", "a blue lake"]


@pytest.fixture
def reopened() -> Callable[..., dict[str, list[str]]]:
    """`reopened(framework, store, place, picture)`: what another process finds there."""

    def ask(*arguments: str) -> dict[str, list[str]]:
        command = [sys.executable, "-m", "tests.stores.reopened", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
        return found

    return ask


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL with pgvector, from the `pgserver` wheel."""
    pgserver = pytest.importorskip("pgserver", reason="no PostgreSQL with pgvector here: pip install pgserver")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, which pgserver asks, wants XDG_RUNTIME_DIR
        server = pgserver.get_server(str(tmp_path_factory.mktemp("pg")), cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store under test keeps its data: a folder, or the address of a new database."""
    if request.getfixturevalue("kind") != "postgres":
        return str(tmp_path / "store")
    server = request.getfixturevalue("postgres_server")
    name = f"t{abs(hash(str(tmp_path))):x}"
    server.psql(f"CREATE DATABASE {name};")
    return str(server.get_uri(database=name))
