"""What hooks into httpx sees every request: test doubles and tracing, for vectors and for images, in sync and async."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import respx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image

from jina_clip_integrations import JinaClipEncoder, SourcePolicy
from tests.faces import both_faces
from tests.faulty_server import KEY, FaultyServer, encode, vector_of

ADDRESS = "https://api.jina.ai/v1/embeddings"
IMAGE_ADDRESS = "http://images.invalid/a.png"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, format="PNG")
    return buffer.getvalue()


def rows_for(request: httpx.Request) -> httpx.Response:
    """A vector for each item, by its content."""
    items = json.loads(request.content)["input"]
    data = [
        {"index": at, "embedding": encode(vector_of(str(item), width=1024), "base64")} for at, item in enumerate(items)
    ]
    return httpx.Response(200, json={"model": "jina-clip-v2", "data": data, "usage": {"total_tokens": 1}})


@both_faces
def test_respx_answers_for_the_service(face: Any, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(ADDRESS).mock(side_effect=rows_for)
    rows = face(JinaClipEncoder(api_key=KEY)).encode_text(["b", "a"])
    np.testing.assert_allclose(rows, [vector_of(str({"text": text}), width=1024) for text in "ba"], atol=1e-6)
    assert route.call_count == 1
    assert route.calls.last.request.headers["authorization"] == f"Bearer {KEY}"


@both_faces
def test_respx_answers_for_the_host_of_an_image(face: Any, respx_mock: respx.MockRouter) -> None:
    service = respx_mock.post(ADDRESS).mock(side_effect=rows_for)
    host = respx_mock.get(IMAGE_ADDRESS).respond(content=png(), content_type="image/png")
    encoder = JinaClipEncoder(api_key=KEY, sources=SourcePolicy.trusted())
    assert face(encoder).encode_image([IMAGE_ADDRESS]).shape == (1, 1024)
    assert (host.call_count, service.call_count) == (1, 1)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What OpenTelemetry's instrumentation of httpx has seen."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()
    provider.shutdown()


def methods_of(spans: InMemorySpanExporter) -> list[str]:
    return [str(span.name) for span in spans.get_finished_spans()]


@both_faces
def test_opentelemetry_traces_the_service(face: Any, spans: InMemorySpanExporter) -> None:
    with FaultyServer() as server:
        encoder = JinaClipEncoder(api_key=KEY, base_url=server.url)
        face(encoder).encode_text(["a", "b"])
        encoder.close()
    assert methods_of(spans) == ["POST"]
    [span] = spans.get_finished_spans()
    assert "/v1/embeddings" in str(span.attributes)
    assert KEY not in str(span.attributes)


@both_faces
def test_all_requests_of_a_call_belong_to_the_callers_span(face: Any, spans: InMemorySpanExporter) -> None:
    tracer = TracerProvider().get_tracer("a program")
    texts = [f"text {number}" for number in range(20)]
    with FaultyServer() as server:
        encoder = JinaClipEncoder(api_key=KEY, base_url=server.url, batch_size=3)
        with tracer.start_as_current_span("a call") as call:
            face(encoder).encode_text(texts)
        encoder.close()
    requests = spans.get_finished_spans()
    assert len(requests) == 7
    assert {span.parent.span_id for span in requests if span.parent is not None} == {call.get_span_context().span_id}


@both_faces
def test_opentelemetry_traces_the_host_of_an_image(
    face: Any, spans: InMemorySpanExporter, respx_mock: respx.MockRouter
) -> None:
    respx_mock.post(ADDRESS).mock(side_effect=rows_for)
    respx_mock.get(IMAGE_ADDRESS).respond(content=png(), content_type="image/png")
    encoder = JinaClipEncoder(api_key=KEY, sources=SourcePolicy.trusted())
    face(encoder).encode_image([IMAGE_ADDRESS])
    assert sorted(methods_of(spans)) == ["GET", "POST"]
