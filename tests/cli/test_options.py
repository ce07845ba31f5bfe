"""From the command line's options to the encoder's arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.backends.registry import BACKENDS
from jina_clip_integrations.cli.options import (
    add_model_options,
    add_output_options,
    backend_options,
    choose_backend,
    open_encoder,
    vector_width,
)
from jina_clip_integrations.errors import ConfigurationError
from tests.command_line import word_ids


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    add_output_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(("model", "backend"), [("jina-clip-v2", "api"), ("demo", "local"), ("some/model", "api")])
def test_the_backend_follows_the_model(model: str, backend: str) -> None:
    assert choose_backend(None, model) == backend


def test_a_folder_runs_here(tmp_path: Path) -> None:
    assert choose_backend(None, str(tmp_path)) == "local"
    assert choose_backend("api", str(tmp_path)) == "api"


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_known_by_its_name(run: Any, name: str) -> None:
    assert choose_backend(name, "any") == name
    assert name in run("embed", "--help").out


def test_an_endpoint_is_an_encoder_like_any_other() -> None:
    args = parse("--backend", "sagemaker", "--endpoint-name", "clip", "--region-name", "eu-central-1")
    with open_encoder(args) as encoder:
        backend: Any = encoder.backend
        assert backend.endpoint_name == "clip"
        assert "eu-central-1/clip" in backend.cache_identity
        assert vector_width(encoder) == 1024


def test_a_backend_of_ones_own_is_made_by_its_factory(colours: Any) -> None:
    assert choose_backend("colour_backend:shared", "any") is colours


@pytest.mark.parametrize("path", ["cloud", "colour_backend:missing", "no_module:x", "os.path:"])
def test_what_is_no_backend_is_refused(path: str, colours: Any) -> None:
    with pytest.raises(ConfigurationError, match="--backend"):
        choose_backend(path, "any")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--device", "cpu"], {"device": "cpu"}),
        (["--device", "cuda:0,cuda:1"], {"device": ["cuda:0", "cuda:1"]}),
        (["--dtype", "float32", "--batch-size", "4"], {"dtype": "float32", "batch_size": 4}),
        (["--batch-size", "auto"], {"batch_size": "auto"}),
        (["--image-size", "336"], {"image_size": 336}),
        (["--base-url", "http://127.0.0.1:1/v1"], {"base_url": "http://127.0.0.1:1/v1"}),
        (["--endpoint-name", "clip"], {"endpoint_name": "clip"}),
        (["--region-name", "eu-central-1"], {"region_name": "eu-central-1"}),
    ],
    ids=word_ids,
)
def test_only_what_was_said_goes_to_the_backend(words: list[str], options: dict[str, Any]) -> None:
    assert backend_options(parse(*words)) == options


def test_dimensions_and_overrides_reach_the_encoder(colours: Any) -> None:
    args = parse("--backend", "colour_backend:shared", "--dimensions", "8")
    with open_encoder(args) as encoder:
        assert encoder.dimensions == vector_width(encoder) == 8
    with open_encoder(args, dimensions=None) as encoder:
        assert vector_width(encoder) == 16


def test_an_unknown_width_is_asked_for() -> None:
    class Unknown:
        dimensions = None

        def encode_text(self, text: str) -> Any:
            return np.ones(len(text) + 7, np.float32)

    unknown: Any = Unknown()
    assert vector_width(unknown) == len("width") + 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "cpu"], "device"),
        (["--image-size", "336"], "leave it out, or use that backend"),
        (["--model", "demo", "--image-size", "50"], "a multiple of its patches of 8 from 32 to 56"),
        (["--model", "demo", "--backend", "api"], "local"),
        (["--backend", "sagemaker"], "endpoint_name"),
        (["--endpoint-name", "clip"], "sagemaker"),
        (["--model", "demo", "--base-url", "http://127.0.0.1:1"], "base_url"),
    ],
    ids=word_ids,
)
def test_an_option_of_the_other_backend_is_refused(run: Any, words: list[str], said: str) -> None:
    ran = run("embed", "text", *words)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
