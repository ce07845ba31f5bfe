"""Options: names and synonyms, what is refused, where the key comes from, and what never shows."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from langchain_core.load import dumpd, dumps
from pydantic import SecretStr, ValidationError

import jina_clip_integrations.langchain
from jina_clip_integrations import ApiBackend, JinaClipEncoder, LocalBackend, SageMakerBackend
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.langchain import ImageEmbeddings, JinaClipEmbeddings
from jina_clip_integrations.settings import RetryPolicy
from tests.fakes import BlockingBackend, text_vector, unit

KEY = "jina_0123456789abcdef"
TOKEN = "hf_0123456789"


def test_the_fields_are_the_options_of_the_encoder_and_of_both_backends() -> None:
    takes = {
        name
        for kind in (JinaClipEncoder, ApiBackend, LocalBackend, SageMakerBackend)
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    assert set(JinaClipEmbeddings.model_fields) == takes | {"query_task"}


# Names


@pytest.mark.framework("langchain/unknown-option")
@pytest.mark.parametrize(
    ("given", "nearest"), [("dimension", "dimensions"), ("modle", "model"), ("normalise", "normalize")]
)
def test_an_unknown_option_is_refused_with_the_nearest_name(given: str, nearest: str) -> None:
    with pytest.raises(ValidationError, match=f"{given!r}.*Did you mean {nearest!r}"):
        JinaClipEmbeddings(**{given: 64})


@pytest.mark.framework("langchain/usual-names")
@pytest.mark.parametrize(
    ("synonym", "name", "value"),
    [
        ("model_name", "model", "jina-clip-v1"),
        ("request_timeout", "timeout", 7.5),
        ("chunk_size", "batch_size", 12),
        ("show_progress_bar", "show_progress", True),
    ],
)
def test_synonyms_of_other_packages(synonym: str, name: str, value: Any) -> None:
    assert getattr(JinaClipEmbeddings(**{synonym: value}), name) == value
    assert JinaClipEmbeddings(**{synonym: value}) == JinaClipEmbeddings(**{name: value})


@pytest.mark.framework("llama-index/langchain-wrapper", "langchain/usual-names")
def test_other_names_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    embeddings = JinaClipEmbeddings(model="jina-clip-v1")
    assert (embeddings.model_name, embeddings.jina_api_key) == ("jina-clip-v1", SecretStr(KEY))


def test_a_missing_extra_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape('pip install "jina-clip-integrations[langchain]"')):
        importlib.reload(jina_clip_integrations.langchain)


@pytest.mark.framework("langchain/usual-names")
def test_two_names_for_one_option_must_agree() -> None:
    assert JinaClipEmbeddings(timeout=3, request_timeout=3).timeout == 3  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="'timeout' under two names"):
        JinaClipEmbeddings(timeout=3, request_timeout=4)  # type: ignore[call-arg]


# What cannot work


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, "'device' has no effect with backend=\"api\""),
        ({"backend": "local", "base_url": "https://example.org"}, "'base_url' has no effect with backend=\"local\""),
        ({"backend": "local", "api_key": KEY}, "'api_key' has no effect with backend=\"local\""),
        ({"backend": BlockingBackend(), "timeout": 3}, "'timeout' has no effect with a backend object"),
        ({"backend": "cloud"}, "unknown backend 'cloud'"),
        ({"dimensions": 4096}, "32 to 1024"),
        ({"model": "jina-clip-v1", "dimensions": 512}, "not trained with Matryoshka"),
        ({"model": "jina-clip-v1", "query_task": "retrieval.query"}, "unknown task"),
        ({"query_task": "search"}, "unknown task 'search'"),
        ({"model": "demo"}, 'use backend="local"'),
        ({"embedding_type": "binary"}, "promises floats"),
        ({"backend": BlockingBackend(embedding_type="ubinary")}, "promises floats"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"timeout": "soon"}, "timeout must be seconds"),
        ({"sources": "anywhere"}, "sources"),
    ],
)
def test_options_that_cannot_work_are_refused_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JinaClipEmbeddings(**options)


def test_a_checkpoint_folder_needs_the_local_backend(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match='use backend="local"'):
        JinaClipEmbeddings(model=tmp_path)
    assert JinaClipEmbeddings(model=tmp_path, backend="local").model == str(tmp_path)


def test_an_assigned_contradiction_is_refused_on_the_next_call() -> None:
    embeddings = JinaClipEmbeddings(backend=BlockingBackend())
    embeddings.embed_query("a")
    embeddings.device = "cpu"
    with pytest.raises(ConfigurationError, match="'device' has no effect"):
        embeddings.embed_query("a")


def test_errors_echo_no_value() -> None:
    wrong: dict[str, Any]
    for wrong in ({"dimension": 3}, {"token": TOKEN}, {"batch_size": []}):
        with pytest.raises(ValidationError) as caught:
            JinaClipEmbeddings(api_key=KEY, **wrong)
        shown = f"{caught.value} {caught.value!r} {caught.value.errors()}"
        assert KEY not in shown
        assert TOKEN not in shown
    assert "input_value" not in str(caught.value)


# The key


@pytest.mark.framework("langchain/key-read-back")
@pytest.mark.parametrize("argument", ["api_key", "jina_api_key"])
@pytest.mark.parametrize("wrap", [str, SecretStr])
def test_a_key_can_be_given_and_read_back(argument: str, wrap: Any) -> None:
    key = JinaClipEmbeddings(**{argument: wrap(KEY)}).api_key
    assert isinstance(key, SecretStr)
    assert key.get_secret_value() == KEY


@pytest.mark.framework("langchain/empty-variable", "langchain/key-read-back")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"JINA_API_KEY": "one", "JINAAI_API_KEY": "two", "JINA_AUTH_TOKEN": "three"}, "one"),
        ({"JINA_API_KEY": "", "JINAAI_API_KEY": "two", "JINA_AUTH_TOKEN": "three"}, "two"),
        ({"JINA_API_KEY": "  ", "JINAAI_API_KEY": "**********", "JINA_AUTH_TOKEN": "three"}, "three"),
        ({"JINA_API_KEY": " Bearer one\n"}, "one"),
        ({"JINA_API_KEY": "**********"}, None),
        ({}, None),
    ],
)
def test_the_first_usable_variable_counts(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    for masked in ({}, {"api_key": None}, {"api_key": ""}, {"api_key": "**********"}):
        key = JinaClipEmbeddings(**masked).api_key
        assert (key and key.get_secret_value()) == expected
    assert dict(os.environ) == before


def test_a_key_in_the_environment_does_not_disturb_the_local_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    assert JinaClipEmbeddings(backend="local", model="jina-clip-v2").backend == "local"


def test_a_key_from_the_environment_counts_after_the_variable_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("JINA_API_KEY", KEY)
        client = httpx.Client(transport=httpx.MockTransport(answer))
        embeddings = JinaClipEmbeddings(http_client=client, dimensions=64)
    embeddings.embed_query("a")
    assert SEEN[-1]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(("given", "sent"), [({}, f"Bearer {KEY}"), ({"api_key": "mine"}, "Bearer mine")])
def test_another_server_gets_the_key_as_the_backend_decides(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], sent: str
) -> None:
    """The adapter passes on an explicit key only; the environment's is looked up, or not, by the backend itself."""
    monkeypatch.setenv("JINA_API_KEY", KEY)
    client = httpx.Client(transport=httpx.MockTransport(answer))
    openai_like = JinaClipEmbeddings(
        base_url="https://example.org/v1", dialect="openai", http_client=client, dimensions=64, **given
    )
    openai_like.embed_query("a")
    assert SEEN[-1].get("authorization") == (sent if given else None)
    jina_like = JinaClipEmbeddings(base_url="https://example.org/v1", http_client=client, dimensions=64, **given)
    jina_like.embed_query("a")
    assert SEEN[-1].get("authorization") == sent


SEEN: list[httpx.Headers] = []


def answer(request: httpx.Request) -> httpx.Response:
    """What the service would say to one text."""
    SEEN.append(request.headers)
    body = json.loads(request.content)
    data = [{"index": n, "embedding": [1.0] + [0.0] * 1023} for n in range(len(body["input"]))]
    data = [{**row, "embedding": row["embedding"][: body.get("dimensions", 1024)]} for row in data]
    return httpx.Response(200, json={"data": data, "usage": {"total_tokens": 3}, "model": "jina-clip-v2"})


def test_a_callable_key_is_kept_as_it_is() -> None:
    fresh = lambda: KEY  # noqa: E731
    assert JinaClipEmbeddings(api_key=fresh).api_key is fresh


# What shows


@pytest.fixture
def secretive() -> JinaClipEmbeddings:
    return JinaClipEmbeddings(
        api_key=KEY,
        base_url="https://user:hunter2@example.org/v1?k=hunter2",
        headers={"X-Key": "hunter2", "X-Team": "a"},
    )


@pytest.mark.obligation("19")
@pytest.mark.framework("langchain/repr-and-dump")
def test_no_secret_shows_anywhere(secretive: JinaClipEmbeddings) -> None:
    dumped = secretive.model_dump()
    shown = [repr(secretive), str(secretive), dumps(secretive), str(dumpd(secretive)), repr(secretive.for_images())]
    shown += [str(dumped), str({**dumped, "base_url": ""}), repr(pickle.dumps(secretive))]
    for text in shown:
        assert KEY not in text
    for text in shown[:5]:
        assert "hunter2" not in text
    assert "X-Key" not in str(dumped)
    assert dumped["headers"] == {"X-Team": "a"}
    local = JinaClipEmbeddings(backend="local", token=TOKEN)
    assert TOKEN not in f"{local!r} {local.model_dump()} {pickle.dumps(local)!r}"


@pytest.mark.framework("langchain/repr-and-dump")
def test_repr_is_short_and_says_what_was_chosen() -> None:
    assert repr(JinaClipEmbeddings()) == "JinaClipEmbeddings(model='jina-clip-v2')"
    embeddings = JinaClipEmbeddings(backend=BlockingBackend(), dimensions=4)
    assert repr(embeddings) == "JinaClipEmbeddings(backend='BlockingBackend', dimensions=4, model='fake')"


# Copies, pickles, equality


OPTIONS = {"dimensions": 256, "timeout": 3.5, "retry": RetryPolicy(first_wait_s=0.1), "query_task": None}


@pytest.mark.framework("langchain/pickles-and-copies")
def test_equal_settings_are_equal() -> None:
    assert JinaClipEmbeddings(**OPTIONS) == JinaClipEmbeddings(**OPTIONS)
    assert JinaClipEmbeddings(**OPTIONS) != JinaClipEmbeddings(**{**OPTIONS, "dimensions": 128})
    assert JinaClipEmbeddings().for_images() == JinaClipEmbeddings().for_images()
    used = JinaClipEmbeddings(backend=(backend := BlockingBackend()))
    used.embed_query("a")
    assert used == JinaClipEmbeddings(backend=backend)


@pytest.mark.framework("langchain/pickles-and-copies")
@pytest.mark.parametrize("options", [OPTIONS, {"backend": "local", "device": ["cpu", "cpu"], "num_workers": 2}])
def test_pickles_rebuild_an_equal_object(options: dict[str, Any]) -> None:
    embeddings = JinaClipEmbeddings(**options)
    assert pickle.loads(pickle.dumps(embeddings)) == embeddings
    assert pickle.loads(pickle.dumps(embeddings.for_images())).embeddings == embeddings


@pytest.mark.framework("langchain/pickles-and-copies")
def test_a_pickle_reads_the_key_from_the_environment_on_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(JinaClipEmbeddings(api_key=KEY, headers={"X-Team": "a", "Authorization": "b"}))
    assert pickle.loads(data).api_key is None
    monkeypatch.setenv("JINAAI_API_KEY", "theirs")
    again = pickle.loads(data)
    assert again.api_key.get_secret_value() == "theirs"
    assert again.headers == {"X-Team": "a"}


COPIES = [copy.copy, copy.deepcopy, lambda given: given.model_copy(), lambda given: given.model_copy(deep=True)]


@pytest.mark.framework("langchain/pickles-and-copies")
@pytest.mark.parametrize("copied", COPIES)
def test_copies_of_a_used_object_work_and_share_the_backend(copied: Any) -> None:
    backend = BlockingBackend()
    embeddings = JinaClipEmbeddings(backend=backend)
    before = embeddings.embed_query("a")
    twin = copied(embeddings)
    assert twin == embeddings
    assert twin.embed_query("a") == before
    assert (twin.usage.items, embeddings.usage.items) == (1, 1)
    assert len(backend.batches) == 2
    twin.dimensions = 4
    assert (len(twin.embed_query("a")), len(embeddings.embed_query("a"))) == (4, 8)


def test_a_copy_keeps_the_key_and_the_client() -> None:
    client = httpx.Client()
    twin = copy.deepcopy(JinaClipEmbeddings(api_key=KEY, http_client=client))
    assert twin.api_key.get_secret_value() == KEY
    assert twin.http_client is client
    client.close()


# Assignment, and what construction does not do


def test_an_assigned_field_takes_effect_on_the_next_call() -> None:
    backend = BlockingBackend()
    embeddings = JinaClipEmbeddings(backend=backend)
    assert len(embeddings.embed_query("a")) == 8
    embeddings.dimensions = 4
    np.testing.assert_allclose(embeddings.embed_documents(["a"]), unit(text_vector("a")[None, :4]), atol=1e-6)
    embeddings.query_task = None
    np.testing.assert_allclose([embeddings.embed_query("a")], unit(text_vector("a")[None, :4]), atol=1e-6)
    embeddings.backend = BlockingBackend(dimensions=16, spec=None)
    embeddings.dimensions = None
    assert len(embeddings.embed_query("a")) == 16
    assert embeddings.usage.items == 4


def test_another_width_keeps_the_loaded_model(golden_v2: Path) -> None:
    embeddings = JinaClipEmbeddings(model=golden_v2, backend="local", device="cpu", dtype="float32")
    wide = embeddings.embed_query("a")
    loaded = embeddings._encoder().backend
    embeddings.dimensions = 32
    narrow = embeddings.embed_query("a")
    assert embeddings._encoder().backend is loaded
    np.testing.assert_allclose([narrow], unit(np.asarray(wide)[None, :32]), atol=1e-6)
    embeddings.dtype = "bfloat16"
    embeddings.embed_query("a")
    assert embeddings._encoder().backend is not loaded
    embeddings.close()


@pytest.mark.framework("langchain/standard-suites")
def test_construction_loads_neither_a_model_nor_a_client() -> None:
    code = (
        "import sys\n"
        "from jina_clip_integrations.langchain import JinaClipEmbeddings\n"
        "JinaClipEmbeddings(); JinaClipEmbeddings(model='demo', backend='local').for_images()\n"
        "print([name for name in ('torch', 'transformers', 'llama_index') if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.framework("langchain/unknown-option")
def test_the_image_view_refuses_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        ImageEmbeddings(embeddings=JinaClipEmbeddings(), dimension=3)  # type: ignore[call-arg]
