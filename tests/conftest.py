"""Fixtures that every test room shares. The network is blocked but for loopback (`addopts` in pyproject.toml)."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

collect_ignore = (
    []
    if sys.version_info >= (3, 11)
    else ["evaluation/benchmarks", "cli/test_evaluate_mteb.py", "cli/test_evaluation_page.py"]
)
"""What is about mteb, which Python 3.10 cannot have."""

GOLDEN = Path(__file__).parent / "golden"


def pytest_configure() -> None:
    """Take Ctrl-C also where a shell started the run in the background, which the programs under test inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--effort N` multiplies the counts of tests that try many cases: 1 in CI, more in `make test-long`."""
    parser.addoption("--effort", type=int, default=1, help="multiply the counts of mutants, kills, look-ups, … by N")


@pytest.fixture(scope="session")
def effort(request: pytest.FixtureRequest) -> int:
    """How many times the counts of CI a test shall try."""
    return int(request.config.getoption("--effort"))


@pytest.fixture(scope="session", params=["v1", "v2"])
def golden_folder(request: pytest.FixtureRequest) -> Path:
    """A tiny checkpoint in the published layout with the outputs it must give."""
    folder = GOLDEN / request.param
    assert (folder / "golden.safetensors").is_file(), f"golden fixtures are missing: {folder}"
    return folder


@pytest.fixture(autouse=True)
def no_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a key of the person who runs it."""
    for name in ("JINA_API_KEY", "JINAAI_API_KEY", "JINA_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for this package's folder in the user's cache."""
    return tmp_path_factory.mktemp("user-cache")


@pytest.fixture(autouse=True)
def no_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, user_cache: Path) -> None:
    """No test reads or writes the cache of the person who runs it."""
    monkeypatch.setattr("jina_clip_integrations.collections.locations.cache_folder", lambda: user_cache)
