"""Options: names and synonyms, what is refused, and where the key comes from."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.registry import BACKENDS
from jina_clip_integrations.errors import ConfigurationError
from tests.adapters import LANGCHAIN, LLAMA_INDEX, Adapter
from tests.fakes import BlockingBackend

KEY = "jina_0123456789abcdef"
TOKEN = "hf_0123456789"


@pytest.mark.framework("llama-index/options-are-fields")
def test_the_fields_are_the_options_of_the_encoder_the_backends_and_the_framework(adapter: Adapter) -> None:
    takes = {
        name
        for kind in (JinaClipEncoder, *(entry.load() for entry in BACKENDS.values()))
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    ours = (takes - {"model"}) | {adapter.model_field, "query_task"} | adapter.framework_fields
    assert set(adapter().__class__.model_fields) == ours


CONSTRUCTIONS = {
    LANGCHAIN: "JinaClipEmbeddings(); JinaClipEmbeddings(model='demo', backend='local').for_images()",
    LLAMA_INDEX: "JinaClipEmbedding(); JinaClipEmbedding(model='demo', backend='local').to_json()",
}
FLAGS = {LANGCHAIN: ["-W", "error"], LLAMA_INDEX: []}
NOT_IMPORTED = {LANGCHAIN: ("torch", "transformers", "llama_index"), LLAMA_INDEX: ("torch", "langchain_core")}
"""LlamaIndex itself warns when it is imported, and imports transformers where that is installed."""


@pytest.mark.framework("langchain/standard-suites")
def test_construction_loads_neither_a_model_nor_the_other_framework(adapter: Adapter) -> None:
    code = (
        f"import sys\nfrom {adapter.package} import *\n{CONSTRUCTIONS[adapter]}\n"
        f"print([name for name in {NOT_IMPORTED[adapter]} if name in sys.modules])\n"
    )
    command = [sys.executable, *FLAGS[adapter], "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_missing_extra_names_the_install_line(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.import_module(adapter.package)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape(f'pip install "jina-clip-integrations[{adapter.extra}]"')):
        importlib.reload(package)


# Names


MISSPELT = [
    (LANGCHAIN, "dimension", "dimensions"),
    (LANGCHAIN, "modle", "model"),
    (LANGCHAIN, "normalise", "normalize"),
    (LLAMA_INDEX, "dimension", "dimensions"),
    (LLAMA_INDEX, "model_nam", "model_name"),
    (LLAMA_INDEX, "normalise", "normalize"),
]


@pytest.mark.framework("langchain/unknown-option", "llama-index/unknown-keywords")
@pytest.mark.parametrize(
    ("adapter", "given", "nearest"), [pytest.param(*case, id=f"{case[0].name}-{case[1]}") for case in MISSPELT]
)
def test_an_unknown_option_is_refused_with_the_nearest_name(adapter: Adapter, given: str, nearest: str) -> None:
    with pytest.raises(ValidationError, match=f"{given!r}.*Did you mean {nearest!r}"):
        adapter(**{given: 64})


@pytest.mark.framework("langchain/usual-names", "llama-index/usual-names")
@pytest.mark.parametrize(
    ("synonym", "name", "value"),
    [
        ("request_timeout", "timeout", 7.5),
        ("chunk_size", "batch_size", 12),
        ("show_progress_bar", "show_progress", True),
        ("api_base", "base_url", "https://example.org"),
    ],
)
def test_synonyms_of_other_packages(adapter: Adapter, synonym: str, name: str, value: Any) -> None:
    assert getattr(adapter(**{synonym: value}), name) == value
    assert adapter(**{synonym: value}, **adapter.comparable) == adapter(**{name: value}, **adapter.comparable)


@pytest.mark.framework("langchain/usual-names", "llama-index/usual-names")
def test_the_model_has_two_names(adapter: Adapter) -> None:
    assert getattr(adapter(model="jina-clip-v1"), adapter.model_field) == "jina-clip-v1"
    assert getattr(adapter(model_name="jina-clip-v1"), adapter.model_field) == "jina-clip-v1"
    one, other = (adapter(**{name: "jina-clip-v1"}, **adapter.comparable) for name in ("model", "model_name"))
    assert one == other


@pytest.mark.framework("langchain/usual-names")
def test_two_names_for_one_option_must_agree(adapter: Adapter) -> None:
    assert adapter(timeout=3, request_timeout=3).timeout == 3
    with pytest.raises(ConfigurationError, match="'timeout' under two names"):
        adapter(timeout=3, request_timeout=4)


# What cannot work


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "device over the api": ({"device": "cpu"}, "'device' has no effect with backend=\"api\""),
    "url of the local backend": (
        {"backend": "local", "base_url": "https://example.org"},
        "'base_url' has no effect with backend=\"local\"",
    ),
    "key of the local backend": (
        {"backend": "local", "api_key": KEY},
        "'api_key' has no effect with backend=\"local\"",
    ),
    "timeout of an object": (
        {"backend": BlockingBackend(), "timeout": 3},
        "'timeout' has no effect with a backend object",
    ),
    "unknown backend": ({"backend": "cloud"}, "unknown backend 'cloud'"),
    "too wide": ({"dimensions": 4096}, "32 to 1024"),
    "v1 truncated": ({"model": "jina-clip-v1", "dimensions": 512}, "not trained with Matryoshka"),
    "v1 with a task": ({"model": "jina-clip-v1", "query_task": "retrieval.query"}, "unknown task"),
    "unknown task": ({"query_task": "search"}, "unknown task 'search'"),
    "demo over the api": ({"model": "demo"}, 'use backend="local"'),
    "bits": ({"embedding_type": "binary"}, "promises floats"),
    "object of bits": ({"backend": BlockingBackend(embedding_type="ubinary")}, "promises floats"),
    "quick look over the api": ({"image_size": 336}, "'image_size' has no effect with backend=\"api\"; leave it out"),
    "quick look of an object": ({"backend": BlockingBackend(), "image_size": 336}, "'image_size' has no effect"),
    "half a patch": ({"backend": "local", "image_size": 300}, "a multiple of its patches of 14 from 224 to 504"),
    "negative retries": ({"max_retries": -1}, "max_retries=-1"),
    "timeout in words": ({"timeout": "soon"}, "timeout must be seconds"),
    "sources in words": ({"sources": "anywhere"}, "sources"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_cannot_work_are_refused_at_construction(adapter: Adapter, case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(ValidationError, match=message):
        adapter(**options)


def test_a_checkpoint_folder_needs_the_local_backend(adapter: Adapter, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match='use backend="local"'):
        adapter(model=tmp_path)
    assert getattr(adapter(model=tmp_path, backend="local"), adapter.model_field) == str(tmp_path)


def test_a_quick_look_is_that_of_the_encoder(adapter: Adapter, images: list[str]) -> None:
    options = {"backend": "local", "device": "cpu", "dtype": "float32"}
    embeddings = adapter(model="demo", image_size=48, **options)
    quick = getattr(embeddings, adapter.image)(images[0])
    with JinaClipEncoder("demo", image_size=48, **options) as encoder:
        np.testing.assert_array_equal(np.float32(quick), encoder.encode_image(images[0]))
    embeddings.image_size = None  # the model is loaded anew for it
    full = getattr(embeddings, adapter.image)(images[0])
    assert np.abs(np.subtract(quick, full)).max() > 1e-3
    embeddings.close()


def test_an_assigned_contradiction_is_refused_on_the_next_call(adapter: Adapter) -> None:
    embeddings = adapter(backend=BlockingBackend())
    embed = getattr(embeddings, adapter.query)
    embed("a")
    embeddings.device = "cpu"
    with pytest.raises(ConfigurationError, match="'device' has no effect"):
        embed("a")


@pytest.mark.parametrize(
    "wrong", [{"dimension": 3}, {"token": TOKEN}, {"batch_size": []}], ids=["unknown", "elsewhere", "of another type"]
)
def test_errors_echo_no_value(adapter: Adapter, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        adapter(api_key=KEY, **wrong)
    message = f"{caught.value} {caught.value!r} {caught.value.errors()}"
    assert KEY not in message
    assert TOKEN not in message
    assert "input_value" not in str(caught.value)


# The key


@pytest.mark.framework("langchain/key-read-back")
@pytest.mark.parametrize("argument", ["api_key", "jina_api_key"])
@pytest.mark.parametrize("wrap", [str, SecretStr])
def test_a_key_can_be_given_and_read_back(adapter: Adapter, argument: str, wrap: Any) -> None:
    key = adapter(**{argument: wrap(KEY)}).api_key
    assert isinstance(key, SecretStr)
    assert key.get_secret_value() == KEY


VARIABLES: dict[str, tuple[dict[str, str], str | None]] = {
    "all three": ({"JINA_API_KEY": "one", "JINAAI_API_KEY": "two", "JINA_AUTH_TOKEN": "three"}, "one"),
    "first empty": ({"JINA_API_KEY": "", "JINAAI_API_KEY": "two", "JINA_AUTH_TOKEN": "three"}, "two"),
    "blank and masked": ({"JINA_API_KEY": "  ", "JINAAI_API_KEY": "**********", "JINA_AUTH_TOKEN": "three"}, "three"),
    "with its scheme": ({"JINA_API_KEY": " Bearer one\n"}, "one"),
    "masked": ({"JINA_API_KEY": "**********"}, None),
    "none": ({}, None),
}


@pytest.mark.framework("langchain/empty-variable", "langchain/key-read-back")
@pytest.mark.parametrize("case", VARIABLES)
def test_the_first_usable_variable_counts(adapter: Adapter, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    variables, expected = VARIABLES[case]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    for masked in ({}, {"api_key": None}, {"api_key": ""}, {"api_key": "**********"}):
        key = adapter(**masked).api_key
        assert (key and key.get_secret_value()) == expected
    assert dict(os.environ) == before


def test_a_key_in_the_environment_does_not_disturb_the_local_backend(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    assert adapter(backend="local", model="jina-clip-v2").backend == "local"


def test_a_callable_key_is_kept_as_it_is(adapter: Adapter) -> None:
    fresh = lambda: KEY  # noqa: E731
    assert adapter(api_key=fresh).api_key is fresh
