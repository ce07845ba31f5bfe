"""Images, texts, a PostgreSQL server, and a second process that opens what the first has written."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.colours import AXES

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 300
"""For the second process, which imports every store; it takes seconds on an idle machine."""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Paths of three images of equal size and different colour."""
    folder = tmp_path_factory.mktemp("images")
    for name, colour in AXES.items():
        Image.new("RGB", (12, 10), colour).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in AXES]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return ["a green meadow", "a blue lake"]


@pytest.fixture
def reopened() -> Callable[..., dict[str, Any]]:
    """`reopened(framework, image, {store: place})`: what another process finds in each of the stores."""

    def ask(framework: str, image: str, places: dict[str, str]) -> dict[str, Any]:
        release_milvus()
        command = [sys.executable, "-m", "tests.stores.reopened", framework, image, json.dumps(places)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return ask


def release_milvus() -> None:
    """Let another process open what Milvus Lite holds here: closing the client does not unlock its file."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_all()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL with pgvector, from the `pgserver` wheel."""
    pgserver = pytest.importorskip("pgserver", reason="no PostgreSQL with pgvector here: pip install pgserver")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, which pgserver asks, wants XDG_RUNTIME_DIR
        server = pgserver.get_server(str(tmp_path_factory.mktemp("pg")), cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture(scope="module")
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Where a store may keep its data: a folder, or the address of a new database."""

    def make(kind: str) -> str:
        folder = tmp_path_factory.mktemp(kind)
        if kind != "postgres":
            return str(folder / "store")
        server = request.getfixturevalue("postgres_server")
        name = f"t{uuid.uuid4().hex}"
        server.psql(f"CREATE DATABASE {name};")
        return str(server.get_uri(database=name))

    return make


def stores_here(stores: Mapping[str, Any]) -> list[str]:
    """Names of the stores that can run: PostgreSQL comes with a package that has no wheel for the newest Pythons."""
    return [name for name in sorted(stores) if name != "postgres" or importlib.util.find_spec("pgserver")]
