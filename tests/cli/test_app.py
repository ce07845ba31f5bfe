"""`jina-clip app`: what it starts, where it listens, when it opens a browser, how it ends."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from jina_clip_integrations.cli import app as command
from jina_clip_integrations.cli.main import build_parser
from jina_clip_integrations.errors import ConfigurationError
from tests.serving import Serving, wait_until

ROOT = Path(__file__).parents[2]


def parse(*arguments: str) -> argparse.Namespace:
    words = ["app", "folder", *arguments]
    return build_parser(words).parse_args(words)


class Running:
    """The command in a process of its own."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        words = ["app", *map(str, arguments), "--no-browser", "--port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "jina_clip_integrations.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        self.address = first.rpartition(" is at ")[2].strip()
        self.url = self.address.partition("#")[0].rstrip("/")

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)

    def wait_until_indexed(self) -> dict[str, Any]:
        status: dict[str, Any] = {}

        def is_done() -> bool:
            status.update(self.get("/api/status").json())
            return status["indexing"]["state"] in ("done", "failed")

        wait_until(is_done, timeout_s=60)
        return status

    def stop(self) -> tuple[int, str]:
        """Interrupt it, as Ctrl-C does; its exit code and what it said."""
        self.process.send_signal(signal.SIGINT)
        _, told = self.process.communicate(timeout=30)
        return self.process.returncode, told


@pytest.fixture
def start(tmp_path: Path) -> Any:
    running: list[Running] = []

    def begin(*arguments: object, **environment: str) -> Running:
        running.append(Running(*arguments, **{"XDG_CACHE_HOME": str(tmp_path / "cache"), **environment}))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def test_a_folder_is_indexed_searched_and_left_as_it_was(start: Any, folder: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in folder.rglob("*"))
    running = start(folder, "--model", "demo")
    status = running.wait_until_indexed()
    assert (status["indexing"]["state"], status["images"], status["model"]) == ("done", 3, "demo")
    found = running.get("/api/search", params={"q": "red", "all": "1"}).json()["hits"]
    assert len(found) == 3
    # Another app on the same store ends with one line, and the first one goes on.
    second = subprocess.run(
        [sys.executable, "-m", "jina_clip_integrations.cli", "app", str(folder), "--model", "demo", "--port", "0"],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        timeout=60,
    )
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert "in use by another program" in second.stderr
    assert running.get("/api/status").status_code == 200
    assert running.stop()[0] == 0
    assert sorted(path.name for path in folder.rglob("*")) == before
    # The next start needs no model: the store knows it.
    again = start(folder, "--no-index")
    assert again.get("/api/status").json()["images"] == 3
    assert again.stop()[0] == 0


def test_a_server_of_our_own_computes_the_vectors(
    start: Any, folder: Path, tmp_path: Path, demo_server: Serving
) -> None:
    there = ("--backend", "api", "--base-url", f"{demo_server.url}/v1")
    running = start(folder, "--model", "demo-served", *there, "--store", tmp_path / "store")
    status = running.wait_until_indexed()
    assert (status["indexing"]["state"], status["images"]) == ("done", 3), status
    assert len(running.get("/api/search", params={"q": "red", "all": "1"}).json()["hits"]) == 3
    demo_server.stop()
    answer = running.get("/api/search", params={"q": "green", "all": "1"})
    assert answer.status_code == 502
    assert running.get("/api/search").status_code == 200  # what needs no model goes on
    assert running.stop()[0] == 0


@pytest.fixture
def demo_server() -> Any:
    """`jina-clip serve` with the demo model, in a thread."""
    from jina_clip_integrations import LocalBackend
    from jina_clip_integrations.server import create_app

    with LocalBackend("demo") as backend:
        serving = Serving(create_app(backend, model_names=("demo-served",)))
        serving.start()
        yield serving
        if serving.thread.is_alive():
            serving.stop()


def test_elsewhere_it_asks_for_the_token_that_it_prints(start: Any, folder: Path) -> None:
    running = start(folder, "--model", "demo", "--host", "0.0.0.0", "--no-index")
    token = running.address.partition("#token=")[2]
    assert len(token) >= 32
    assert running.get("/api/status").status_code == 401
    assert running.get("/api/status", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    code, told = running.stop()
    assert code == 0
    assert token not in told


def test_a_port_in_use_is_one_line(run: Any, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run("app", folder, "--model", "demo", "--port", taken.getsockname()[1])
    assert ran.code == 2
    assert "--port 0 picks a free one" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nowhere"], "no folder"),
        (["FOLDER", "--host", "203.0.113.1"], "cannot listen"),
        (["FOLDER", "--allow-host", "http://x", "--host", "127.0.0.1"], "no host name"),
        (["FOLDER", "--model", "no-such-model"], "no-such-model"),
    ],
)
def test_what_cannot_work_is_one_line(run: Any, folder: Path, tmp_path: Path, arguments: list[str], part: str) -> None:
    words = [str(folder) if word == "FOLDER" else word for word in arguments]
    ran = run("app", *words, "--port", "0", "--store", tmp_path / "store", "--no-browser")
    assert ran.code == 2
    assert part in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "a b"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "a b"}, "darwin", False),
        ({"CI": "true"}, "win32", False),
        ({"BROWSER": "firefox", "SSH_CONNECTION": "a b"}, "linux", True),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(
    environment: dict[str, str], platform: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert command.has_browser(environment) is expected


def test_opening_the_browser_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, release = threading.Event(), threading.Event()

    def open_slowly(address: str) -> bool:
        assert address == "http://127.0.0.1:1/"
        opened.set()
        return release.wait(10)

    monkeypatch.setattr("webbrowser.open", open_slowly)
    command.open_browser("http://127.0.0.1:1/")
    assert opened.wait(10)
    release.set()


def test_who_is_asked_for_a_token() -> None:
    assert command.build_settings(parse(), {}).token is None
    assert command.build_settings(parse(), {}).loopback_only
    assert command.build_settings(parse("--token"), {}).token
    first, second = (command.build_settings(parse("--host", "0.0.0.0"), {}) for _ in range(2))
    assert first.token != second.token
    assert not first.loopback_only
    own = command.build_settings(parse(), {command.TOKEN_VARIABLE: '"my-own-token-of-some-length"'})
    assert own.token == "my-own-token-of-some-length"
    with pytest.raises(ConfigurationError, match="could be guessed"):
        command.build_settings(parse(), {command.TOKEN_VARIABLE: "short"})


def test_the_names_it_answers_to() -> None:
    named = command.build_settings(parse("--host", "photos.home", "--allow-host", "photos.example"), {})
    assert named.host_names == ("photos.home", "photos.example")
    assert command.build_settings(parse("--host", "192.168.1.5"), {}).host_names == ()
    assert command.build_settings(parse("--watch", "--no-index"), {}).watch


@pytest.mark.parametrize(
    ("host", "token", "address"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8790/"),
        ("0.0.0.0", "abc", "http://127.0.0.1:8790/#token=abc"),
        ("::1", None, "http://[::1]:8790/"),
        ("192.168.1.5", "abc", "http://192.168.1.5:8790/#token=abc"),
    ],
)
def test_the_address_that_is_printed(host: str, token: str | None, address: str) -> None:
    assert command.page_address(host, 8790, token) == address
