"""Backends by name: what the registry says is what the classes take, and every face of the package knows every name."""

from __future__ import annotations

import inspect
import io
import json
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations import ConfigurationError, JinaClipEncoder
from jina_clip_integrations.backends.registry import BACKENDS, create_backend, owners_of
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.faulty_server import vector_of

WIDTH = 1024


class Runtime:
    """A `sagemaker-runtime` client whose endpoint answers with vectors that follow from the texts."""

    def invoke_endpoint(self, *, EndpointName: str, Body: bytes, **_: Any) -> dict[str, Any]:
        assert EndpointName == "clip"
        rows = [{"embedding": vector_of(item["text"], width=WIDTH).tolist()} for item in json.loads(Body)["data"]]
        return {"Body": io.BytesIO(json.dumps({"data": rows}).encode()), "ResponseMetadata": {}}

    def close(self) -> None:
        pass


def expected(*texts: str) -> Any:
    return [vector_of(text, width=WIDTH) for text in texts]


@pytest.mark.parametrize("name", BACKENDS)
def test_constructors_take_exactly_the_options_of_the_settings_class(name: str) -> None:
    entry = BACKENDS[name]
    parameters = inspect.signature(entry.load()).parameters
    assert set(parameters) == {*entry.options, "model"}
    defaults = entry.settings(**({"endpoint_name": "x"} if name == "sagemaker" else {}))
    for option in set(entry.options) - {"endpoint_name"}:
        assert parameters[option].default == getattr(defaults, option), option


def test_an_option_of_another_backend_says_whose_it_is() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'compile' is an option of backend=\"local\", not of backend=\"api\""
    ):
        create_backend("api", "jina-clip-v2", {"compile": True})
    with pytest.raises(ConfigurationError, match=r"'region_name' is an option of backend=\"sagemaker\""):
        create_backend("local", "jina-clip-v2", {"region_name": "eu-central-1"})
    assert owners_of("timeout") == ("api", "sagemaker")


def test_a_model_of_this_machine_is_not_elsewhere() -> None:
    with pytest.raises(ConfigurationError, match='lives on this machine, not at sagemaker; use backend="local"'):
        create_backend("sagemaker", "demo", {"endpoint_name": "clip"})


class TestSageMakerByName:
    def test_of_the_encoder(self) -> None:
        encoder = JinaClipEncoder("jina-clip-v2", backend="sagemaker", endpoint_name="clip", client=Runtime())
        np.testing.assert_allclose(encoder.encode_text(["a", "b"]), expected("a", "b"), atol=1e-6)
        assert encoder.backend.model == "jina-clip-v2"

    def test_of_langchain(self) -> None:
        embeddings = JinaClipEmbeddings(backend="sagemaker", endpoint_name="clip", client=Runtime())
        np.testing.assert_allclose(embeddings.embed_documents(["b", "a"]), expected("b", "a"), atol=1e-6)

    def test_of_llama_index(self) -> None:
        embedding = JinaClipEmbedding(backend="sagemaker", endpoint_name="clip", client=Runtime())
        np.testing.assert_allclose(embedding.get_text_embeddings(["b", "a"]), expected("b", "a"), atol=1e-6)

    def test_its_dump_rebuilds_it_without_the_client(self) -> None:
        options = {"endpoint_name": "clip", "region_name": "eu-central-1", "call_parameters": {"TargetVariant": "blue"}}
        embedding = JinaClipEmbedding(backend="sagemaker", client=Runtime(), **options)
        data = embedding.to_dict()
        assert "client" not in data
        json.dumps(data)
        rebuilt = JinaClipEmbedding.from_dict(data)
        assert {name: getattr(rebuilt, name) for name in options} == options
        assert rebuilt.backend == "sagemaker"
        assert rebuilt.client is None

    def test_its_name_is_part_of_what_a_pipeline_keys_by(self) -> None:
        keys = {str(JinaClipEmbedding(backend="sagemaker", endpoint_name=name).to_dict()) for name in ("clip", "other")}
        assert len(keys) == 2

    @pytest.mark.parametrize("kind", [JinaClipEncoder, JinaClipEmbeddings, JinaClipEmbedding])
    def test_an_endpoint_has_to_be_named(self, kind: Any) -> None:
        with pytest.raises(ValueError, match="endpoint_name must be the name of a SageMaker endpoint"):
            kind(backend="sagemaker")

    def test_other_backends_refuse_its_options(self) -> None:
        with pytest.raises(ValueError, match=r"'endpoint_name' has no effect with backend=\"api\""):
            JinaClipEmbeddings(endpoint_name="clip")
