"""Every Python block runs, offline: each of the README from nothing, those of a guide from top to bottom.

What they ask of api.jina.ai is answered by the stand-in of the other tests, which is as strict as the real one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jina_clip_integrations.backends.remote.api import HOSTED
from tests.faulty_server import KEY, FaultyServer

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs").glob("*.md"))
NEED_PYTHON_3_11 = ("evaluation.md",)
"""Pages whose code needs a package that Python 3.10 cannot have (mteb)."""
RUNNABLE = [page for page in GUIDES if sys.version_info >= (3, 11) or page.name not in NEED_PYTHON_3_11]
PAGES = [*sorted(ROOT.glob("*.md")), *GUIDES]
BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOCAL_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Line number and code of every Python block."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield text.count("\n", 0, match.start(1)) + 1, match.group(1)


@pytest.fixture
def hosted_service(monkeypatch: pytest.MonkeyPatch) -> FaultyServer:
    """Answers requests to the hosted service, and has its key in the environment. Every other host is real."""
    service = FaultyServer()
    blocking, awaiting = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def answer(request: httpx.Request, body: bytes) -> httpx.Response:
        said = service.answer(request.headers, body)
        return httpx.Response(said.status, json=said.body)

    def handle(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        ours = request.url.host == HOSTED
        return answer(request, request.read()) if ours else blocking(transport, request)

    async def ahandle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        ours = request.url.host == HOSTED
        return answer(request, await request.aread()) if ours else await awaiting(transport, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", ahandle)
    monkeypatch.setenv("JINA_API_KEY", KEY)
    return service


@pytest.mark.parametrize(("line", "code"), [pytest.param(*block, id=f"line {block[0]}") for block in blocks(README)])
def test_blocks_of_the_readme_run_alone(
    line: int, code: str, hosted_service: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile("\n" * (line - 1) + code, str(README), "exec"), {"__name__": "__readme__"})
    assert bool(hosted_service.requests) is ('backend="local"' not in code)  # the example of the API is a real call


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_blocks_of_a_guide_run_from_top_to_bottom(
    page: Path, hosted_service: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__docs__"}
    for line, code in blocks(page):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    assert bool(hosted_service.requests) is (page.name == "backends.md")  # the examples are the real calls


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_somewhere(page: Path) -> None:
    targets = LOCAL_LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_readmes_prices_are_those_that_the_script_prints() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "cost.py")]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout.strip()
    assert printed == (ROOT / "benchmarks" / "results" / "cost.md").read_text(encoding="utf-8").strip()
    rows = [line for line in printed.splitlines() if line.startswith("| jina-clip-v")]
    assert len(rows) == 2
    readme = README.read_text(encoding="utf-8")
    assert all(row in readme for row in rows)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_first_screen_of_the_readme_has_it_all() -> None:
    screen = "\n".join(README.read_text(encoding="utf-8").splitlines()[:50])
    assert "pip install" in screen
    assert "make demo" in screen
    assert "make test" in screen
    code = [code for line, code in blocks(README) if line <= 50]
    assert any('backend="local"' in block for block in code)
    assert any("backend" not in block for block in code)  # the API, which is the default


def test_the_tables_of_options_are_those_of_the_settings_classes() -> None:
    script = [sys.executable, str(ROOT / "tools" / "options.py")]
    checked = subprocess.run(script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
