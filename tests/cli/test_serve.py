"""`jina-clip serve`: its options and warnings, and the command in a process of its own."""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.cli import serve
from jina_clip_integrations.cli.main import main
from jina_clip_integrations.demo import gallery
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.server.settings import read_api_keys


def parse(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return parser.parse_args(options)


class TestOptions:
    def test_the_defaults_are_the_settings_own(self) -> None:
        from jina_clip_integrations.server import ServerSettings

        args = parse()
        assert serve.build_settings(args) == ServerSettings()
        assert (args.host, args.port) == ("127.0.0.1", 8080)

    def test_a_quick_look_arrives(self) -> None:
        with serve.open_local_encoder(parse("--model", "demo", "--image-size", "48")) as encoder:
            assert encoder.reduced_image_size == 48
        with serve.open_local_encoder(parse("--model", "demo")) as encoder:
            assert encoder.reduced_image_size is None

    def test_every_option_arrives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TEAM_KEY", "one, two")
        settings = serve.build_settings(
            parse(
                *["--api-key-env", "TEAM_KEY", "--served-model-name", "a", "--served-model-name", "b", "--strict"],
                *["--max-batch", "7", "--batch-wait-ms", "2.5", "--max-running", "3", "--max-queue", "99"],
                *["--max-items", "9", "--max-body-mib", "2", "--max-image-mib", "1", "--request-timeout", "11"],
                *["--drain-timeout", "12", "--allow-private-addresses"],
                *["--cors-origin", "https://a.example", "--cors-origin", "http://localhost:3000"],
            )
        )
        assert settings.api_keys == ("one", "two")
        assert settings.model_names == ("a", "b")
        assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
        assert (settings.strict, settings.allow_private_addresses) == (True, True)
        assert (settings.max_batch, settings.batch_wait_s, settings.max_running) == (7, 0.0025, 3)
        assert (settings.max_queue, settings.max_items) == (99, 9)
        assert (settings.max_body_bytes, settings.max_image_bytes) == (2 * 2**20, 2**20)
        assert (settings.request_timeout_s, settings.drain_timeout_s) == (11, 12)

    @pytest.mark.parametrize("value", [None, "", " , "])
    def test_a_key_variable_without_a_key_is_an_error(self, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
        if value is not None:
            monkeypatch.setenv("TEAM_KEY", value)
        with pytest.raises(ConfigurationError, match=r"--api-key-env TEAM_KEY: .* empty or not set"):
            read_api_keys("TEAM_KEY")

    @pytest.mark.parametrize(
        "value", ['"one,two"', "'one, two'\n", '"one","two"', "Bearer one, two", "\ufeffone,\u200btwo"]
    )
    def test_a_key_variable_with_quotes(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("TEAM_KEY", value)
        assert serve.build_settings(parse("--api-key-env", "TEAM_KEY")).api_keys == ("one", "two")

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
    def test_addresses_that_only_this_machine_reaches(self, host: str) -> None:
        assert serve.is_loopback(host)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu-box"])
    def test_addresses_that_others_reach(self, host: str) -> None:
        assert not serve.is_loopback(host)


class TestBadOptions:
    """One clear line and a non-zero exit code, before anything is loaded."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--tls-cert", "a.pem"], "--tls-cert and --tls-key belong together"),
            (["--tls-cert", "/no/a.pem", "--tls-key", "/no/b.pem"], "/no/a.pem: no such file"),
            (["--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
            (["--max-items", "5000"], "max_queue=2048 is smaller than max_items=5000"),
            (["--host", "203.0.113.7"], "cannot listen on 203.0.113.7"),
            (["--model", "/no/such/folder", "--port", "0"], "/no/such/folder"),
        ],
    )
    def test_of_settings(self, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
        assert main(["serve", *options]) == 2
        err = capsys.readouterr().err
        assert message in err.splitlines()[-1]

    def test_of_a_port_that_is_taken(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert main(["serve", "--port", str(port)]) == 2
        assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "option", [["--port", "70000"], ["--port", "x"], ["--batch-wait-ms", "-1"], ["--max-batch", "0"]]
    )
    def test_of_the_parser(self, capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
        with pytest.raises(SystemExit):
            main(["serve", *option])
        assert option[0] in capsys.readouterr().err

    def test_a_missing_extra_names_the_install_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        assert main(["serve"]) == 2
        assert 'pip install "jina-clip-integrations[serve]"' in capsys.readouterr().err

    def test_a_server_without_authentication_is_warned_about(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEAM_KEY", "one")
        for options, warned in (([], False), (["--host", "0.0.0.0"], True)):
            for key in ([], ["--api-key-env", "TEAM_KEY"]):
                main(["serve", "--model", "/no/such/folder", "--port", "0", *options, *key])
                assert ("without a key" in capsys.readouterr().err) is (warned and not key)


BACKEND = """
import asyncio, hashlib
import numpy as np
from jina_clip_integrations.backends.base import BatchResult
from jina_clip_integrations.catalog import JINA_CLIP_V2

class Backend:
    model, dimensions, spec = "jina-clip-v2", 1024, JINA_CLIP_V2

    async def aembed(self, batch):
        await asyncio.sleep(0.3 if any("slow" in text for text in batch.texts) else 0)
        return BatchResult(np.stack([row(text) for text in batch.texts]))

def row(text):
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(1024).astype(np.float32)
"""


class Process:
    """`jina-clip serve` in a process of its own."""

    def __init__(self, *options: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jina_clip_integrations.cli", "serve", "--port", "0", *options],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.url = ""
        for line in self.process.stderr:
            if found := re.search(r"at (http://127\.0\.0\.1:\d+/v1) ", line):
                self.url = found[1]
                break
        assert self.url, "the server did not say where it listens"

    def stop(self, number: int) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


def test_a_real_model_by_plain_requests(tmp_path: Path) -> None:
    """The request of the announcements, but for the width: mixed items, an image by URL, the old name of a field."""
    image = gallery()[0].image().convert("RGB").resize((200, 120))
    image.save(tmp_path / "beach.png")
    files = functools.partial(QuietFiles, directory=tmp_path)
    options = ["--model", "demo", "--served-model-name", "jina-clip-v2", "--allow-private-addresses"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as host:
        threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True).start()
        process = Process(*options)
        try:
            body = {
                "model": "jina-clip-v2",
                "dimensions": "64",
                "encoding_type": "float",
                "input": [
                    {"text": "A beautiful sunset over the beach"},
                    {"image": f"http://127.0.0.1:{host.server_port}/beach.png"},
                    "a plain string is a text",
                ],
            }
            answer = requests.post(f"{process.url}/embeddings", json=body, timeout=60)
            code, _, _ = process.stop(signal.SIGTERM)
        finally:
            process.process.kill()
            host.shutdown()
    assert answer.status_code == 200, answer.text
    with JinaClipEncoder("demo", backend="local", dimensions=64) as encoder:
        words = encoder.encode_text(["A beautiful sunset over the beach", "a plain string is a text"])
        expected = np.stack([words[0], encoder.encode_image(image), words[1]])
    rows = np.array([row["embedding"] for row in answer.json()["data"]], np.float32)
    np.testing.assert_allclose(rows, expected, atol=2e-5)
    assert code == 0


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_whole_command(tmp_path: Path, number: int) -> None:
    """A key, rows of concurrent clients, and an orderly end in the middle of work."""
    (tmp_path / "backend_of_ours.py").write_text(BACKEND)
    environment = {"PYTHONPATH": str(tmp_path), "TEAM_KEY": "secret-key"}
    process = Process("--backend", "backend_of_ours:Backend", "--api-key-env", "TEAM_KEY", **environment)

    def one(text: str) -> requests.Response:
        body = {"model": "jina-clip-v2", "input": [{"text": text}], "normalized": False}
        headers = {"Authorization": "Bearer secret-key"}
        return requests.post(f"{process.url}/embeddings", json=body, headers=headers, timeout=60)

    scope: dict = {}
    exec(BACKEND, scope)
    try:
        texts = [f"text number {n}" for n in range(16)]
        with ThreadPoolExecutor(17) as pool:
            answers = list(pool.map(one, texts))
            slow = pool.submit(one, "slow text number 99")
            while "jina_clip_inputs_in_hand 1.0" not in requests.get(f"{process.url[:-3]}/metrics", timeout=10).text:
                assert not slow.done()
            code, out, err = process.stop(number)
            answers.append(slow.result())
    finally:
        process.process.kill()
    for text, answer in zip([*texts, "slow text number 99"], answers, strict=True):
        row = np.array(answer.json()["data"][0]["embedding"], np.float32)
        np.testing.assert_array_equal(row, scope["row"](text))
    assert code == 0
    assert out == ""
    assert err.count("POST /v1/embeddings 200") == 17
    for hidden in ("Traceback", "secret-key", "text number"):
        assert hidden not in err
