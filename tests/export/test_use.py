"""An exported folder where a checkpoint would stand: served, evaluated, and run in a worker."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import requests

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.registry import create_backend
from jina_clip_integrations.cli.main import build_parser, main
from jina_clip_integrations.cli.mcp import make_server
from jina_clip_integrations.cli.serve import open_local_encoder
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.ray.recipe import EncoderRecipe
from jina_clip_integrations.server import create_app
from tests.exports import GOLDEN, exported
from tests.serving import Serving


def parse(*arguments: str) -> argparse.Namespace:
    return build_parser(arguments).parse_args(arguments)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("named", [True, False])
def test_it_is_served(format: str, named: bool) -> None:
    folder = str(exported("v2", format))
    args = parse("serve", "--model", folder, *(["--backend", format] if named else []))
    with open_local_encoder(args) as encoder, JinaClipEncoder(folder, backend=format) as here:
        serving = Serving(create_app(encoder))
        serving.start()
        try:
            body = {"model": encoder.spec.name, "input": [{"text": "ein rotes Fahrrad"}]}
            answer = requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=30)
        finally:
            serving.stop()
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"][0]["embedding"]
        np.testing.assert_allclose(found, here.encode_text("ein rotes Fahrrad"), atol=1e-6)


def test_it_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    pairs = tmp_path / "captions.jsonl"
    rows = [{"image": f"{name}.png", "text": f"a {name} square"} for name in ("red", "green", "blue", "white")]
    for row in rows:
        PIL.Image.new("RGB", (40, 30), row["image"].removesuffix(".png")).save(tmp_path / row["image"])
    pairs.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    found = []
    for model, *options in ((str(exported("v2")),), (str(GOLDEN / "v2"), "--dtype", "float32")):
        command = ["evaluate", str(pairs), "--model", model, *options, "--no-speed", "--quiet", "--json"]
        assert main(command) == 0
        found.append(json.loads(capsys.readouterr().out)["settings"])
    assert found[0] == found[1]


def test_a_remote_backend_names_the_one_that_runs_it() -> None:
    with pytest.raises(ConfigurationError, match=r'lives on this machine, not at the API; use backend="openvino"'):
        create_backend("api", str(exported("v2", "openvino")), {"api_key": "key"})


def test_an_agent_is_not_told_that_its_queries_leave_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jina_clip_integrations.mcp.create_server", lambda *_, open_world, **__: open_world)
    models = (["--model", str(exported("v2"))], ["--model", "demo"], ["--model", "jina-clip-v2", "--backend", "api"])
    told: list[Any] = [make_server(parse("mcp", ".", *each), Any, token=None) for each in models]
    assert told == [False, False, True]


def test_a_worker_keeps_to_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jina_clip_integrations.ray.recipe.limit_threads", lambda: 1)
    with EncoderRecipe(str(exported("v2")), "onnx").open_in_worker() as encoder:
        settings: Any = encoder.backend.settings
        assert (settings.num_threads, settings.num_workers) == (1, 1)
    with EncoderRecipe(str(exported("v2")), "onnx", num_threads=2).open_in_worker() as encoder:
        assert encoder.backend.settings.num_threads == 2
