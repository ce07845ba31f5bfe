"""Spans, events and callbacks: present for images, short, and without the image or the key."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span.simple import SimpleSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler
from pydantic import Field

from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.expected import bytes_of

KEY = "jina_0123456789abcdef"


class Events(BaseEventHandler):
    """Keeps what was announced."""

    seen: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Events"

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.seen.append(event)


class Spans(BaseSpanHandler[SimpleSpan]):
    """Keeps which spans were entered, with what arguments, and how they ended."""

    entered: list[tuple[str, Any]] = Field(default_factory=list)
    left: list[str] = Field(default_factory=list)
    dropped: list[str] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Spans"

    def new_span(self, id_: str, bound_args: Any, **kwargs: Any) -> None:
        self.entered.append((id_.split("-")[0], bound_args))

    def prepare_to_exit_span(self, id_: str, bound_args: Any, **kwargs: Any) -> None:
        self.left.append(id_.split("-")[0])

    def prepare_to_drop_span(self, id_: str, bound_args: Any, **kwargs: Any) -> None:
        self.dropped.append(id_.split("-")[0])


class Callbacks(BaseCallbackHandler):
    """Keeps every payload."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.started: list[Any] = []
        self.ended: list[Any] = []

    def on_event_start(self, event_type: Any, payload: Any = None, event_id: str = "", **kw: Any) -> str:
        self.started.append((event_type, payload))
        return event_id

    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **kw: Any) -> None:
        self.ended.append((event_type, payload))

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


@pytest.fixture
def observed() -> Iterator[tuple[Events, Spans]]:
    root = get_dispatcher()
    events, spans = Events(), Spans()
    before = root.event_handlers, root.span_handlers
    root.event_handlers, root.span_handlers = [events], [spans]
    yield events, spans
    root.event_handlers, root.span_handlers = before


@pytest.fixture
def callbacks(embedding: JinaClipEmbedding) -> Callbacks:
    handler = Callbacks()
    embedding.callback_manager = CallbackManager([handler])
    return handler


def given_as(kind: str, path: str) -> Any:
    data = bytes_of(path)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {"path": path, "bytes": data, "stream": io.BytesIO(data), "data URI": uri}[kind]


@pytest.mark.framework("llama-index/model-name", "llama-index/image-spans")
@pytest.mark.parametrize("kind", ["path", "bytes", "stream", "data URI"])
async def test_one_image_has_a_span_both_events_and_a_short_chunk(
    call: Callable[..., Any], embedding: Any, observed: Any, callbacks: Any, images: list[str], kind: str
) -> None:
    events, spans = observed
    vector = await call(embedding, "get_image_embedding", given_as(kind, images[0]))
    names = [name for name, _ in spans.entered]
    assert names[0].endswith("get_image_embedding")
    assert names[0].startswith("JinaClipEmbedding.")
    assert sorted(spans.left) == sorted(names)
    start, end = events.seen
    assert isinstance(start, EmbeddingStartEvent)
    assert start.model_dict["model_name"] == "fake"
    assert isinstance(end, EmbeddingEndEvent)
    assert end.embeddings == [vector]
    assert start.span_id is not None
    assert start.span_id.startswith(names[0])
    [chunk] = end.chunks
    assert chunk == images[0] if kind == "path" else chunk.startswith("image/png ") and "sha256:" in chunk
    [(type_, payload)] = callbacks.ended
    assert type_ == CBEventType.EMBEDDING
    assert payload[EventPayload.CHUNKS] == [chunk]
    assert payload[EventPayload.EMBEDDINGS] == [vector]


@pytest.mark.framework("llama-index/image-spans")
async def test_images_have_one_span_and_events_for_each_batch(
    call: Callable[..., Any], embedding: Any, observed: Any, callbacks: Any, images: list[str]
) -> None:
    events, spans = observed
    await call(embedding, "get_image_embedding_batch", images)
    assert [name.rpartition("get_")[2] for name, _ in spans.entered] == ["image_embedding_batch"]
    chunks = [event.chunks for event in events.seen if isinstance(event, EmbeddingEndEvent)]
    assert sorted(chunks, key=len) == [images[2:], images[:2]]
    assert len(callbacks.started) == len(callbacks.ended) == 2


@pytest.mark.framework("llama-index/tracing-arguments")
async def test_nothing_observed_holds_the_image_or_the_key(
    call: Callable[..., Any], backend: Any, observed: Any, images: list[str]
) -> None:
    events, spans = observed
    handler = Callbacks()
    embedding = JinaClipEmbedding(backend=backend, callback_manager=CallbackManager([handler]))
    uri = given_as("data URI", images[0])
    await call(embedding, "get_image_embedding", uri)
    await call(embedding, "get_image_embedding_batch", [uri, bytes_of(images[1])])
    arguments = [str(bound.arguments) for _, bound in spans.entered]
    observations = f"{events.seen} {handler.started} {handler.ended} {arguments}"
    assert uri.partition(",")[2][:40] not in observations
    assert "PNG" not in observations


@pytest.mark.framework("llama-index/text-spans")
async def test_texts_have_one_span_and_one_pair_of_events_for_each_batch(
    call: Callable[..., Any], embedding: Any, observed: Any, callbacks: Any
) -> None:
    events, spans = observed
    await call(embedding, "get_query_embedding", "q")
    await call(embedding, "get_text_embedding", "t")
    await call(embedding, "get_text_embedding_batch", ["a", "b", "c"])
    public = [name.split(".")[1].removeprefix("a") for name, _ in spans.entered if "._" not in name]
    assert public == ["get_query_embedding", "get_text_embedding", "get_text_embedding_batch"]
    ends = [event.chunks for event in events.seen if isinstance(event, EmbeddingEndEvent)]
    assert sorted(ends) == [["a", "b"], ["c"], ["q"], ["t"]]
    assert len(events.seen) == 8
    assert sorted(payload[EventPayload.CHUNKS] for _, payload in callbacks.ended) == sorted(ends)


@pytest.mark.framework("llama-index/image-spans")
async def test_a_failure_ends_the_span_and_the_callback_event(
    call: Callable[..., Any], embedding: Any, observed: Any, callbacks: Any
) -> None:
    _, spans = observed
    with pytest.raises(ValueError, match="no such file"):
        await call(embedding, "get_image_embedding", "missing.png")
    assert sorted(spans.dropped) == sorted(name for name, _ in spans.entered)
    [(_, payload)] = callbacks.ended
    assert EventPayload.EXCEPTION in payload


@pytest.mark.framework("llama-index/callbacks-and-images")
async def test_token_counting_survives_images(call: Callable[..., Any], embedding: Any, images: list[str]) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    embedding.callback_manager = CallbackManager([counter, LlamaDebugHandler(print_trace_on_end=False)])
    await call(embedding, "get_image_embedding_batch", [io.BytesIO(bytes_of(path)) for path in images])
    assert counter.total_embedding_token_count > 0


@pytest.mark.framework("llama-index/model-name", "llama-index/default-batch-size", "llama-index/payload")
def test_the_payload_has_facts_and_no_secrets() -> None:
    embedding = JinaClipEmbedding(
        api_key=KEY, base_url="https://user:hunter2@example.org", headers={"X-Key": "hunter2"}, dimensions=256
    )
    assert embedding.to_payload() == {
        "class_name": "JinaClipEmbedding",
        "model_name": "jina-clip-v2",
        "embed_batch_size": 2048,
        "backend": "api",
        "dimensions": 256,
    }
    assert JinaClipEmbedding(backend="local", device="cpu").to_payload()["device"] == "cpu"
