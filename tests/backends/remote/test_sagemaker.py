"""`SageMakerBackend`: the documented request and answer, AWS errors, and a stand-in endpoint on loopback."""

from __future__ import annotations

import base64
import io
import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

boto3 = pytest.importorskip("boto3", reason="needs the extra aws")

from botocore import exceptions  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.response import StreamingBody  # noqa: E402
from botocore.stub import ANY, Stubber  # noqa: E402

from jina_clip_integrations import SageMakerBackend, errors  # noqa: E402
from jina_clip_integrations.backends.remote.sagemaker import response_of_error  # noqa: E402
from tests.backends.remote.faces import FACES, FAST, embed, images, numbered, photo, stream, texts  # noqa: E402
from tests.faulty_server import vector_of, vectors_of  # noqa: E402

SECRET = "aws-secret-access-key-1234567890"


def client_of(**options: Any) -> Any:
    return boto3.client(
        "sagemaker-runtime",
        region_name="eu-central-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
        **options,
    )


def answer(rows: Any) -> dict[str, Any]:
    """The published sample's shape: raw vectors, usage per row, no index."""
    data = [{"id": "0" * 32, "embedding": row.tolist(), "usage": {"id": "0" * 32, "total_tokens": 8}} for row in rows]
    body = json.dumps({"data": data, "parameters": {"dimensions": 1024.0}}).encode()
    return {"Body": StreamingBody(io.BytesIO(body), len(body)), "ContentType": "application/json"}


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = client_of()
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()
    client.close()


class SameJson:
    """Equal to the bytes of any JSON that says the same."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes) and bool(json.loads(other) == self.value)

    __hash__ = None  # type: ignore[assignment]


def call(body: Any = ANY, **more: Any) -> dict[str, Any]:
    raw = body if body is ANY else SameJson(body)
    common = {"EndpointName": "clip", "ContentType": "application/json", "Accept": "application/json", "Body": raw}
    return common | more


def backend_of(stub: Stubber, model: str = "jina-clip-v2", **options: Any) -> SageMakerBackend:
    return SageMakerBackend("clip", model=model, client=stub.client, **({"retry": FAST} | options))


@pytest.mark.obligation("9")
@pytest.mark.parametrize("face", FACES)
def test_the_documented_request_and_answer(face: str, stub: Stubber) -> None:
    raw = vectors_of(["a", "b"]) * np.float32(13)
    body = {
        "parameters": {"task": "retrieval.query", "dimensions": 64},
        "data": [{"text": "a"}, {"text": "b"}],
    }
    stub.add_response("invoke_endpoint", answer(raw), call(body))
    result = embed(face, backend_of(stub), texts("a", "b", task="retrieval.query", dimensions=64))
    np.testing.assert_allclose(result.vectors, vectors_of(["a", "b"], dimensions=64), atol=1e-6)
    assert result.usage.total_tokens == 16
    assert result.usage.items == 2


@pytest.mark.parametrize("face", FACES)
def test_v1_has_no_parameters(face: str, stub: Stubber) -> None:
    stub.add_response("invoke_endpoint", answer(vectors_of(["a"], width=768)), call({"data": [{"text": "a"}]}))
    result = embed(face, backend_of(stub, "jina-clip-v1"), texts("a", dimensions=768))
    np.testing.assert_array_equal(result.vectors, vectors_of(["a"], width=768))


def test_raw_vectors_on_request(stub: Stubber) -> None:
    raw = vectors_of(["a"]) * np.float32(13)
    stub.add_response("invoke_endpoint", answer(raw), call({"data": [{"text": "a"}]}))
    np.testing.assert_array_equal(backend_of(stub).embed(texts("a", normalize=False)).vectors, raw)


def test_images_as_bytes_and_by_url(stub: Stubber) -> None:
    first, linked = photo(4, 3, data=b"\x89PNG"), photo(4, 3, url="https://example.org/a.png")
    items = [{"bytes": base64.b64encode(b"\x89PNG").decode()}, {"url": "https://example.org/a.png"}]
    stub.add_response("invoke_endpoint", answer(vectors_of(["a", "b"])), call({"data": items}))
    backend_of(stub, resize_images=False).embed(images(first, linked))


def test_an_answer_in_the_hosted_shape(stub: Stubber) -> None:
    rows = [{"index": at, "embedding": vector_of(text).tolist()} for at, text in enumerate("ab")][::-1]
    body = json.dumps({"model": "jina-clip-v2", "data": rows, "usage": {"total_tokens": 5}}).encode()
    stub.add_response("invoke_endpoint", {"Body": StreamingBody(io.BytesIO(body), len(body))}, call())
    np.testing.assert_array_equal(backend_of(stub).embed(texts("a", "b")).vectors, vectors_of("ab"))


@pytest.mark.obligation("17")
def test_calls_are_cut_below_the_body_limit(stub: Stubber) -> None:
    sizes: list[int] = []
    stub.client.meta.events.register(
        "before-parameter-build.sagemaker-runtime.InvokeEndpoint", lambda params, **_: sizes.append(len(params["Body"]))
    )
    for _ in range(3):
        stub.add_response("invoke_endpoint", answer(vectors_of(["x", "y"])), call())
    batch = texts(*("z" * 400 for _ in range(6)))
    backend_of(stub, max_request_bytes=1000, max_concurrency=1).embed(batch)
    assert len(sizes) == 3
    assert max(sizes) <= 1000


@pytest.mark.obligation("40")
def test_more_arguments_of_the_call(stub: Stubber) -> None:
    stub.add_response("invoke_endpoint", answer(vectors_of(["a"])), call(TargetVariant="blue"))
    backend_of(stub, call_parameters={"TargetVariant": "blue"}).embed(texts("a"))


# AWS errors


@pytest.mark.obligation("39")
@pytest.mark.parametrize(
    ("code", "cls", "calls"),
    [
        ("ThrottlingException", errors.RateLimitError, 2),
        ("TooManyRequestsException", errors.RateLimitError, 2),
        ("ModelNotReadyException", errors.ServerError, 2),
        ("ServiceUnavailable", errors.ServerError, 2),
        ("InternalFailure", errors.ServerError, 2),
        ("InternalDependencyException", errors.ServerError, 2),
        ("ValidationError", errors.InvalidRequestError, 1),
        ("AccessDeniedException", errors.AuthenticationError, 1),
        ("ExpiredTokenException", errors.AuthenticationError, 1),
        ("UnrecognizedClientException", errors.AuthenticationError, 1),
        ("SomethingNew", errors.InvalidRequestError, 1),
    ],
)
@pytest.mark.parametrize("face", FACES)
def test_aws_errors(face: str, stub: Stubber, code: str, cls: type[errors.ApiError], calls: int) -> None:
    for _ in range(calls):
        stub.add_client_error("invoke_endpoint", code, "said AWS", http_status_code=400)
    _, error = stream(face, backend_of(stub, max_retries=1), texts("a", "b"))
    assert type(error) is cls
    assert error.code == code
    assert "SageMaker endpoint clip" in str(error)
    assert "said AWS" in str(error)
    if cls is errors.AuthenticationError:
        assert "sagemaker:InvokeEndpoint" in str(error)


@pytest.mark.obligation("39")
def test_throttling_that_passes(stub: Stubber) -> None:
    stub.add_client_error("invoke_endpoint", "ThrottlingException", http_status_code=400)
    stub.add_response("invoke_endpoint", answer(vectors_of(["a"])), call())
    result = backend_of(stub).embed(texts("a"))
    assert result.usage.requests == 2


@pytest.mark.obligation("39")
@pytest.mark.parametrize(
    ("status", "message", "cls"),
    [
        (400, '{"detail": {"message": "bad input", "code": "INPUT_X"}}', errors.InputError),
        (400, "bad input", errors.InvalidRequestError),
        (413, "", errors.InputError),
        (500, "Traceback", errors.ServerError),
        (None, "died", errors.ServerError),
    ],
)
def test_a_model_error_is_what_the_container_said(
    stub: Stubber, status: int | None, message: str, cls: type[Exception]
) -> None:
    details = {"OriginalMessage": message} | ({} if status is None else {"OriginalStatusCode": status})
    stub.add_client_error("invoke_endpoint", "ModelError", "failed", http_status_code=424, modeled_fields=details)
    _, error = stream("sync", backend_of(stub, max_retries=0), texts("a"))
    assert type(error) is cls


def test_an_unreadable_aws_error_is_a_server_error() -> None:
    assert response_of_error({}).status == 500
    assert response_of_error({"Error": {"Code": None}, "ResponseMetadata": {"HTTPStatusCode": 418}}).status == 418


class Broken:
    """A client whose calls end in botocore's own errors."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def invoke_endpoint(self, **arguments: Any) -> Any:
        self.calls += 1
        raise self.error


@pytest.mark.obligation("39")
@pytest.mark.parametrize(
    ("error", "cls", "calls"),
    [
        (exceptions.NoCredentialsError(), errors.AuthenticationError, 1),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), errors.AuthenticationError, 1),
        (exceptions.ReadTimeoutError(endpoint_url="x"), errors.ApiTimeoutError, 3),
        (exceptions.ConnectTimeoutError(endpoint_url="x"), errors.ApiTimeoutError, 3),
        (exceptions.EndpointConnectionError(endpoint_url="x"), errors.ApiConnectionError, 3),
        (exceptions.ConnectionClosedError(endpoint_url="x"), errors.ApiConnectionError, 3),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), errors.ApiConnectionError, 3),
        (exceptions.ResponseStreamingError(error="x"), errors.ApiConnectionError, 3),
        (exceptions.ParamValidationError(report="x"), errors.ApiError, 1),
    ],
)
@pytest.mark.parametrize("face", FACES)
def test_calls_that_aws_never_answered(face: str, error: Exception, cls: type[Exception], calls: int) -> None:
    client = Broken(error)
    backend = SageMakerBackend("clip", model="jina-clip-v2", client=client, max_retries=2, retry=FAST)
    _, raised = stream(face, backend, texts("a"))
    assert type(raised) is cls
    assert client.calls == calls


def test_too_long_an_answer(stub: Stubber) -> None:
    stub.add_response("invoke_endpoint", answer(vectors_of(["a"])), call())
    with pytest.raises(errors.ApiError, match="max_response_bytes"):
        backend_of(stub, max_response_bytes=500).embed(texts("a"))


# A stand-in for the endpoint


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    paths: list[str]
    headers_seen: list[dict[str, str]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.paths.append(self.path)
        self.headers_seen.append(dict(self.headers))
        rows = [vector_of(item["text"]) * np.float32(12.5) for item in body["data"]]
        raw = answer(rows)["Body"].read()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *message: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[Endpoint]]]:
    class Handler(Endpoint):
        paths: list[str] = []  # noqa: RUF012
        headers_seen: list[dict[str, str]] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("face", FACES)
def test_over_the_wire(face: str, endpoint: tuple[str, type[Endpoint]]) -> None:
    url, handler = endpoint
    client = client_of(endpoint_url=url)
    backend = SageMakerBackend("clip", model="jina-clip-v2", client=client, batch_size=4)
    result = embed(face, backend, numbered(10))
    np.testing.assert_allclose(result.vectors, vectors_of(numbered(10).texts), atol=1e-6)
    assert handler.paths == ["/endpoints/clip/invocations"] * 3
    assert all(SECRET not in str(headers) for headers in handler.headers_seen)
    client.close()


def test_another_variant_of_the_endpoint_has_cache_entries_of_its_own(stub: Stubber) -> None:
    plain, one, two = (
        backend_of(stub, call_parameters=given).cache_identity
        for given in (None, {"TargetVariant": "one", "InferenceId": "a"}, {"InferenceId": "a", "TargetVariant": "two"})
    )
    assert len({plain, one, two}) == 3
    again = backend_of(stub, call_parameters={"InferenceId": "a", "TargetVariant": "one"})
    assert again.cache_identity == one


def test_a_client_of_its_own(endpoint: tuple[str, type[Endpoint]], monkeypatch: pytest.MonkeyPatch) -> None:
    url, handler = endpoint
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", url)
    original = SageMakerBackend("clip", model="jina-clip-v2", region_name="eu-central-1", batch_size=2)
    state = pickle.dumps(original)
    assert SECRET not in state.decode("latin-1")
    with pickle.loads(state) as backend:
        assert backend.batch_size == 2
        assert backend.cache_identity == original.cache_identity
        np.testing.assert_allclose(backend.embed(texts("a")).vectors, [vector_of("a")], atol=1e-6)
    assert "jina-clip-integrations/" in handler.headers_seen[0]["User-Agent"]
    assert SECRET not in repr(backend)


def test_no_region_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(errors.ConfigurationError, match="region_name"):
        SageMakerBackend("clip", model="jina-clip-v2").embed(texts("a"))


@pytest.mark.parametrize(
    "options",
    [{"model": "jina-clip-v9"}, {"timeout": "long"}, {"batch_size": 0}, {"dialect": "smoke"}],
)
def test_impossible_settings(options: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError):
        SageMakerBackend("clip", **({"model": "jina-clip-v2"} | options))
    with pytest.raises(errors.ConfigurationError, match="endpoint_name"):
        SageMakerBackend("", model="jina-clip-v2")
