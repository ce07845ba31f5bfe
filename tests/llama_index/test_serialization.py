"""Dumps, pickles and copies: complete, JSON-safe, without the key, and rebuilding a working object."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import httpx
import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import ValidationError

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.cache import DiskCache, MemoryCache
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from jina_clip_integrations.settings import RetryPolicy
from tests.fakes import BlockingBackend

KEY = "jina_0123456789abcdef"
REMOTE = {
    "model_name": "jina-clip-v1",
    "base_url": "https://example.org/v1",
    "batch_size": 7,
    "timeout": 3.5,
    "retry": RetryPolicy(first_wait_s=0.25),
    "sources": SourcePolicy.agent(roots="images"),
    "cache": "vectors",
    "headers": {"X-Team": "a"},
    "resize_images": "pad",
    "normalize": False,
    "exif_orientation": False,
    "background": (255, 255, 255),
    "high_bit_depth": "scale",
    "query_task": None,
    "embed_batch_size": 9,
    "num_workers": 3,
}
LOCAL = {"model_name": "demo", "backend": "local", "device": ["cpu", "cpu"], "dtype": "float32", "max_length": 77}


class Serialisable(BlockingBackend):
    """A backend that can put itself into words."""

    def to_dict(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Serialisable:
        return cls(dimensions=settings["dimensions"], spec=None)


@pytest.mark.framework("llama-index/json-dump", "llama-index/loader-by-name")
@pytest.mark.parametrize("options", [{}, REMOTE, LOCAL], ids=["defaults", "remote", "local"])
def test_a_dump_is_json_and_rebuilds_the_object(options: dict[str, Any]) -> None:
    embedding = JinaClipEmbedding(**options)
    dumped = embedding.to_dict()
    assert json.loads(embedding.to_json()) == json.loads(json.dumps(dumped)) == dict(dumped)
    again = JinaClipEmbedding.from_dict(json.loads(embedding.to_json()))
    assert again.to_dict() == dumped
    for name, value in options.items():
        assert getattr(again, name) == value, name
    assert JinaClipEmbedding.from_json(embedding.to_json()).to_dict() == dumped
    assert JinaClipEmbedding.model_validate(dumped).to_dict() == dumped


@pytest.mark.obligation("19")
@pytest.mark.framework("llama-index/payload", "llama-index/key-in-no-dump")
def test_no_dump_holds_the_key_and_the_environment_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = JinaClipEmbedding(api_key=KEY, headers={"Authorization": "hunter2", "X-Team": "a"})
    dumps = [str(embedding.to_dict()), repr(embedding.to_dict()), embedding.to_json(), embedding.model_dump_json()]
    dumps += [repr(embedding), str(embedding), repr(pickle.dumps(embedding)), repr(cloudpickle.dumps(embedding))]
    dumps += [str(embedding.to_payload()), str(embedding.model_dump())]
    for text in dumps:
        assert KEY not in text
        assert "hunter2" not in text
    assert JinaClipEmbedding.from_json(embedding.to_json()).api_key is None
    monkeypatch.setenv("JINA_API_KEY", "theirs")
    for again in (JinaClipEmbedding.from_dict(embedding.to_dict()), pickle.loads(pickle.dumps(embedding))):
        assert again.api_key.get_secret_value() == "theirs"
        assert again.headers == {"X-Team": "a"}


@pytest.mark.framework("llama-index/masked-key", "llama-index/key-in-no-dump")
def test_a_masked_key_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", "theirs")
    masked = {**JinaClipEmbedding().to_dict(), "api_key": "**********"}
    assert JinaClipEmbedding.from_dict(masked).api_key.get_secret_value() == "theirs"


@pytest.mark.framework("llama-index/unknown-keywords", "llama-index/usual-names")
def test_unknown_names_are_refused_and_synonyms_understood() -> None:
    with pytest.raises(ValidationError, match="Did you mean 'model_name'"):
        JinaClipEmbedding(model_nam="jina-clip-v1")  # type: ignore[call-arg]
    assert JinaClipEmbedding(model="jina-clip-v1").model_name == "jina-clip-v1"  # type: ignore[call-arg]
    by_synonym = JinaClipEmbedding(api_base="https://example.org")  # type: ignore[call-arg]
    assert by_synonym.base_url == "https://example.org"
    with pytest.raises(ValidationError, match="num_workers"):
        JinaClipEmbedding(backend="local", num_workers="auto")


# Pickles and copies


@pytest.mark.framework("llama-index/pickling")
@pytest.mark.parametrize("options", [{}, REMOTE, LOCAL], ids=["defaults", "remote", "local"])
@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
def test_pickles_rebuild_the_object(options: dict[str, Any], dumps: Any, caplog: pytest.LogCaptureFixture) -> None:
    embedding = JinaClipEmbedding(**options)
    again = pickle.loads(dumps(embedding))
    assert again.to_dict() == embedding.to_dict()
    assert caplog.records == []


@pytest.mark.framework("llama-index/pickling")
def test_a_used_object_pickles_and_works_again() -> None:
    embedding = JinaClipEmbedding(backend=Serialisable(), embeddings_cache=SimpleKVStore())
    vector = embedding.get_text_embedding("a")
    embedding.backend.before = print  # a picklable callable, as the fake's own default is not
    again = pickle.loads(pickle.dumps(embedding))
    assert again.backend is not embedding.backend
    assert again.get_text_embedding("a") == vector
    assert again.usage.items == 0  # from the store that travelled along


@pytest.mark.framework("llama-index/pickling")
def test_what_does_not_pickle_stays_behind_and_stays_in_place(caplog: pytest.LogCaptureFixture) -> None:
    client = httpx.Client()
    limiter = TokenBucketRateLimiter(requests_per_minute=5)
    embedding = JinaClipEmbedding(http_client=client, rate_limiter=limiter, on_request=print)
    again = pickle.loads(pickle.dumps(embedding))
    assert (again.http_client, again.rate_limiter, again.on_request) == (None, None, None)
    assert (embedding.http_client, embedding.rate_limiter) == (client, limiter)
    assert [record.message for record in caplog.records] == ["rate_limiter does not pickle and stays behind"]
    client.close()


@pytest.mark.framework("llama-index/pickling")
def test_a_backend_that_does_not_pickle_is_never_replaced_in_silence() -> None:
    embedding = JinaClipEmbedding(backend=BlockingBackend())  # its `before` is a lambda
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pickle.dumps(embedding)


@pytest.mark.framework("llama-index/deep-copies")
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda e: e.model_copy(deep=True)],
    ids=["copy", "deepcopy", "model_copy"],
)
def test_copies_of_a_used_object_work(copied: Any) -> None:
    client = httpx.Client()
    embedding = JinaClipEmbedding(
        backend=BlockingBackend(),
        callback_manager=CallbackManager([]),
        rate_limiter=TokenBucketRateLimiter(requests_per_minute=1000),
        embeddings_cache=SimpleKVStore(),
    )
    vector = embedding.get_text_embedding("a")
    replica = copied(embedding)
    replica.embeddings_cache = None
    assert replica.get_text_embedding("a") == vector
    assert replica.backend is embedding.backend
    assert (replica.usage.items, embedding.usage.items) == (1, 1)
    assert copied(JinaClipEmbedding(http_client=client, api_key=KEY)).http_client is client
    client.close()


# Objects in fields


def test_a_backend_object_that_cannot_serialise_itself_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"BlockingBackend cannot be serialised.*disable_cache"):
        JinaClipEmbedding(backend=BlockingBackend()).to_dict()


def test_a_backend_object_that_can_serialise_itself_comes_back() -> None:
    embedding = JinaClipEmbedding(backend=Serialisable(dimensions=16, spec=None))
    again = JinaClipEmbedding.from_json(embedding.to_json())
    assert isinstance(again.backend, Serialisable)
    assert again.get_text_embedding("a") == embedding.get_text_embedding("a")
    handed = BlockingBackend(dimensions=16, spec=None)
    assert JinaClipEmbedding.from_dict(embedding.to_dict(), backend=handed).backend is handed


def test_a_dump_never_imports_a_module() -> None:
    words = {"module": "antigravity", "class": "Backend", "settings": {}}
    with pytest.raises(ConfigurationError, match="not loaded here"):
        JinaClipEmbedding(backend=words)


@pytest.mark.framework("llama-index/json-dump", "llama-index/cache-in-dump")
def test_other_objects_are_put_into_words_or_refused(tmp_path: Path) -> None:
    assert JinaClipEmbedding(cache=DiskCache(tmp_path)).to_dict()["cache"] == str(tmp_path)
    assert JinaClipEmbedding(cache=tmp_path).to_dict()["cache"] == str(tmp_path)
    assert JinaClipEmbedding(cache=MemoryCache()).to_dict()["cache"] is None
    assert "embeddings_cache" not in JinaClipEmbedding(embeddings_cache=SimpleKVStore()).to_dict()
    with pytest.raises(ConfigurationError, match="timeout holds a Timeout"):
        JinaClipEmbedding(timeout=httpx.Timeout(3)).to_dict()


# The pipeline's key


NODES = [TextNode(text="a"), TextNode(text="b")]


def pipeline_key(**options: Any) -> str:
    return get_transformation_hash(NODES, JinaClipEmbedding(**options))


@pytest.mark.framework("llama-index/options-are-fields", "llama-index/pipeline-cache-key")
@pytest.mark.parametrize(
    "change",
    [
        {"model_name": "jina-clip-v1"},
        {"dimensions": 256},
        {"normalize": False},
        {"exif_orientation": False},
        {"background": "white"},
        {"high_bit_depth": "scale"},
        {"resize_images": "squash"},
        {"base_url": "https://example.org"},
        {"backend": "local"},
        {"backend": "local", "revision": "abc"},
        {"backend": "local", "dtype": "bfloat16"},
        {"backend": "local", "max_length": 512},
        {"backend": "local", "image_size": 336},
    ],
    ids="-".join,
)
def test_what_changes_vectors_changes_the_key(change: dict[str, Any]) -> None:
    before = {"backend": "local"} if change.get("backend") == "local" and len(change) > 1 else {}
    assert pipeline_key(**change) != pipeline_key(**before)


@pytest.mark.framework("llama-index/pipeline-cache-stable")
@pytest.mark.parametrize(
    "change",
    [
        {"api_key": KEY},
        {"timeout": 5},
        {"batch_size": 3},
        {"embed_batch_size": 3},
        {"num_workers": 2},
        {"max_retries": 1},
        {"cache": "vectors"},
        {"headers": {"X-Team": "a"}},
        {"show_progress": True},
        {"callback_manager": CallbackManager([])},
        {"rate_limiter": object()},
        {"embedding_type": "float"},
    ],
    ids="-".join,
)
def test_what_changes_no_vector_keeps_the_key(change: dict[str, Any]) -> None:
    assert pipeline_key(**change) == pipeline_key()


@pytest.mark.framework("llama-index/pipeline-cache-stable")
def test_the_key_is_stable_after_use_and_between_objects() -> None:
    embedding = JinaClipEmbedding(backend=Serialisable())
    before = get_transformation_hash(NODES, embedding)
    embedding.get_text_embedding("a")
    assert get_transformation_hash(NODES, embedding) == before
    assert get_transformation_hash(NODES, JinaClipEmbedding(backend=Serialisable())) == before
