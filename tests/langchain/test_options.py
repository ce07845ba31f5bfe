"""What only the LangChain class has: names that tracers read, its `repr`, dumps and pickles of equal objects."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps
from pydantic import SecretStr, ValidationError

from jina_clip_integrations.langchain import ImageEmbeddings, JinaClipEmbeddings
from jina_clip_integrations.settings import RetryPolicy
from tests.fakes import BlockingBackend

KEY = "jina_0123456789abcdef"
TOKEN = "hf_0123456789"
OPTIONS = {"dimensions": 256, "timeout": 3.5, "retry": RetryPolicy(first_wait_s=0.1), "query_task": None}
LOCAL = {"backend": "local", "device": ["cpu", "cpu"], "num_workers": 2}


@pytest.mark.framework("llama-index/langchain-wrapper", "langchain/usual-names")
def test_other_names_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    embeddings = JinaClipEmbeddings(model="jina-clip-v1")
    assert (embeddings.model_name, embeddings.jina_api_key) == ("jina-clip-v1", SecretStr(KEY))


@pytest.mark.framework("langchain/unknown-option")
def test_the_image_view_refuses_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        ImageEmbeddings(embeddings=JinaClipEmbeddings(), dimension=3)  # type: ignore[call-arg]


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
    texts = [repr(secretive), str(secretive), dumps(secretive), str(dumpd(secretive)), repr(secretive.for_images())]
    texts += [str(dumped), str({**dumped, "base_url": ""}), repr(pickle.dumps(secretive))]
    for text in texts:
        assert KEY not in text
    for text in texts[:5]:
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


# Pickles, equality


@pytest.mark.framework("langchain/pickles-and-copies")
def test_equal_settings_are_equal() -> None:
    assert JinaClipEmbeddings(**OPTIONS) == JinaClipEmbeddings(**OPTIONS)
    assert JinaClipEmbeddings(**OPTIONS) != JinaClipEmbeddings(**{**OPTIONS, "dimensions": 128})
    assert JinaClipEmbeddings().for_images() == JinaClipEmbeddings().for_images()


@pytest.mark.framework("langchain/pickles-and-copies")
@pytest.mark.parametrize("options", [OPTIONS, LOCAL], ids=["api", "local"])
def test_pickles_rebuild_an_equal_object(options: dict[str, Any]) -> None:
    embeddings = JinaClipEmbeddings(**options)
    assert pickle.loads(pickle.dumps(embeddings)) == embeddings
    assert pickle.loads(pickle.dumps(embeddings.for_images())).embeddings == embeddings
