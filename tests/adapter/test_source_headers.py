"""A policy with headers for image hosts, in the options of both adapters."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding

SECRET = "hunter2"
URL = "https://images.example.org/a.png"

both_adapters = pytest.mark.parametrize("adapter", [JinaClipEmbeddings, JinaClipEmbedding])


@pytest.fixture
def policy() -> SourcePolicy:
    return SourcePolicy(headers={"images.example.org": {"Authorization": SECRET}}, user_agent="me/1", max_retries=5)


@both_adapters
def test_dumps_do_not_hold_them(adapter: Any, policy: SourcePolicy) -> None:
    embeddings = adapter(api_key="k", sources=policy)
    dumped = json.loads(embeddings.model_dump_json())["sources"]
    shown = [
        repr(embeddings),
        str(embeddings),
        repr(embeddings.model_dump()),
        repr(dumped),
        repr(pickle.dumps(embeddings)),
    ]
    assert not any(SECRET in text for text in shown)
    assert dumped["user_agent"] == "me/1"
    assert adapter(api_key="k", sources=dumped).sources.max_retries == 5


@both_adapters
def test_copies_keep_them(adapter: Any, policy: SourcePolicy) -> None:
    embeddings = adapter(api_key="k", sources=policy)
    for same in (embeddings.model_copy(), copy.deepcopy(embeddings), embeddings.model_copy(deep=True)):
        assert same.sources.request_headers(URL)["Authorization"] == SECRET
    elsewhere = pickle.loads(pickle.dumps(embeddings))
    assert elsewhere.sources.max_retries == 5


def test_llama_index_round_trips(policy: SourcePolicy) -> None:
    dumped = JinaClipEmbedding(api_key="k", sources=policy).to_dict()
    assert SECRET not in repr(dumped)
    assert JinaClipEmbedding.from_dict(dumped, api_key="k").sources.user_agent == "me/1"
