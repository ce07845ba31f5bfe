"""`SageMakerBackend`: the same models behind an Amazon SageMaker endpoint (AWS Marketplace model packages).

Requests and responses follow the sample files of the vendor's client; AWS errors are turned into HTTP responses of the
same meaning, so that retries, splitting and error classes are those of every other remote backend.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

import orjson

from ..._version import USER_AGENT
from ...catalog import ModelSpec, find_model
from ...concurrency.threads import in_thread
from ...errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    ConfigurationError,
    require_extra,
)
from ...settings import LIVE_OPTIONS, SageMakerSettings, constructor, settings
from .backend import RemoteBackend
from .dialects import find_dialect
from .error_mapping import ErrorKind
from .responses import Response
from .transport import LONGEST_CONNECT_S, Reply, Send, TransportFailure

STATUSES = {
    "AccessDenied": 403,
    "AccessDeniedException": 403,
    "ExpiredToken": 401,
    "ExpiredTokenException": 401,
    "IncompleteSignature": 401,
    "InvalidClientTokenId": 401,
    "InvalidSignatureException": 401,
    "MissingAuthenticationToken": 401,
    "MissingAuthenticationTokenException": 401,
    "SignatureDoesNotMatch": 401,
    "UnrecognizedClientException": 401,
    "InternalDependencyException": 503,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "InternalStreamFailure": 500,
    "ModelNotReadyException": 503,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "RequestLimitExceeded": 429,
    "Throttling": 429,
    "ThrottlingException": 429,
    "TooManyRequestsException": 429,
    "RequestEntityTooLargeException": 413,
    "ValidationError": 400,
    "ValidationException": 400,
}
"""AWS error codes to the HTTP status that means the same; AWS itself uses 400 for most of them."""

HINTS: dict[ErrorKind, str] = {
    "auth": "check the AWS credentials and that they allow sagemaker:InvokeEndpoint",
    "requests": "lower max_concurrency or give the endpoint more instances",
    "too large": "lower batch_size or max_request_bytes",
    "server": "see the endpoint's state and its logs",
}


@settings
class SageMakerArguments(SageMakerSettings):
    """Arguments of `SageMakerBackend`: the endpoint, then the model and every setting by its name."""

    endpoint_name: str = field(kw_only=False)
    model: str = field()


class SageMakerBackend(RemoteBackend):
    """Vectors from a SageMaker endpoint that runs jina-clip.

        SageMakerBackend("my-endpoint", model="jina-clip-v2", region_name="eu-central-1")

    The endpoint's vectors are raw; they are truncated and normalised here. Pickles and copies leave `client` behind and
    open one of their own. Options that are not listed mean the same as for `ApiBackend`.

    Args:
        endpoint_name: Name of the endpoint.
        model: `jina-clip-v1` or `jina-clip-v2`; never guessed from the endpoint.
        **options: The fields of `SageMakerSettings` under their own names.

    Raises:
        ConfigurationError: a setting that cannot work, or a model that is neither of the two.
        ImportError: boto3 is missing.
    """

    kind: ClassVar[str] = "sagemaker"

    @constructor(SageMakerArguments)
    def __init__(self, model: str, **options: Any) -> None:
        self._configure(model, options)

    def _configure(self, model: str, given: Mapping[str, Any]) -> None:
        require_extra("boto3", extra="aws", purpose="SageMakerBackend")
        options = {name: value for name, value in given.items() if value is not None}  # None = the default
        chosen = SageMakerSettings(**options)
        self.endpoint_name = str(chosen.endpoint_name)
        self._options = options
        transport = _Runtime(chosen)
        self._set_up(
            model=model,
            spec=_find_spec(model),
            settings=chosen,
            dialect=find_dialect(chosen.dialect),
            name=transport.name,
            transport=transport,
            hints=HINTS,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint_name!r}, model={self.model!r})"

    def __getstate__(self) -> dict[str, Any]:
        options = {name: value for name, value in self._options.items() if name not in LIVE_OPTIONS}
        return {"model": self.model, "options": options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._configure(state["model"], state["options"])

    def _address(self) -> str:
        address = f"{self._options.get('region_name') or 'default'}/{self.endpoint_name}"
        parameters = self._options.get("call_parameters")
        if not parameters:
            return address
        # They may choose a variant of the endpoint, which may be another model.
        return f"{address}/{orjson.dumps(dict(parameters), default=str, option=orjson.OPT_SORT_KEYS).decode()}"


class _Runtime:
    """The transport of one endpoint. boto3 has no async API, so `asend` waits for a thread."""

    def __init__(self, settings: SageMakerSettings) -> None:
        self._settings = settings
        self.name = f"SageMaker endpoint {settings.endpoint_name}"
        self._own: Any = None
        self._process = os.getpid()
        self._lock = threading.Lock()

    def send(self, step: Send) -> Reply:
        """One call, blocking."""
        from botocore.exceptions import BotoCoreError, ClientError

        body = step.body()
        try:
            response = self._client().invoke_endpoint(
                EndpointName=self._settings.endpoint_name,
                ContentType="application/json",
                Accept="application/json",
                Body=body,
                **(self._settings.call_parameters or {}),
            )
            read = response["Body"].read(step.limit + 1)  # one byte more tells a response that is too long
        except ClientError as error:
            return response_of_error(error.response)
        except BotoCoreError as error:
            return self._failure_of(error)
        if len(read) > step.limit:
            return TransportFailure(
                ApiError(f"{self.name}: the answer is longer than max_response_bytes={step.limit:,}")
            )
        return Response(200, _headers(response), read)

    async def asend(self, step: Send) -> Reply:
        return await in_thread(self.send, step)

    def close(self) -> None:
        """Close the client that was made here."""
        with self._lock:
            client, self._own = self._own, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        self.close()

    def _client(self) -> Any:
        if self._settings.client is not None:
            return self._settings.client
        # In a forked child the connections are the parent's, and a thread that is not there may hold the lock.
        if self._process != os.getpid():
            self._process, self._own, self._lock = os.getpid(), None, threading.Lock()
        with self._lock:  # clients are thread-safe, but boto3's default session, which makes them, is not
            if self._own is None:
                self._own = self._new_client()
            return self._own

    def _new_client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            connect_timeout=min(float(self._settings.timeout), LONGEST_CONNECT_S),
            read_timeout=float(self._settings.timeout),
            retries={"total_max_attempts": 1, "mode": "standard"},  # retries happen in the request flow
            max_pool_connections=max(10, self._settings.max_concurrency),  # more than botocore's 10 would be discarded
            user_agent_extra=USER_AGENT,
        )
        try:
            return boto3.client("sagemaker-runtime", region_name=self._settings.region_name, config=config)
        except BotoCoreError as error:
            raise ConfigurationError(f"no AWS client: {error}; pass region_name or client") from error

    def _failure_of(self, error: Exception) -> TransportFailure:
        """The failure of a call that got no response; of botocore's error the message names the class only."""
        from botocore import exceptions

        what = f"{self.name}: {type(error).__name__}"
        credentials = (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.TokenRetrievalError,
        )
        # As an authentication error, so that the job stops: no other request of it can fare better.
        if isinstance(error, credentials):
            return TransportFailure(AuthenticationError(f"{what}; {HINTS['auth']}"), sent=False)
        if isinstance(error, (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError)):
            sent = isinstance(error, exceptions.ReadTimeoutError)
            return TransportFailure(ApiTimeoutError(f"{what}; raise timeout or lower batch_size"), sent=sent)
        lost = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
        if isinstance(error, lost):  # anything else of botocore's is a call that can never be made
            sent = not isinstance(error, exceptions.EndpointConnectionError)
            return TransportFailure(ApiConnectionError(f"{what}; check the network and region_name"), sent=sent)
        return TransportFailure(
            ApiError(f"{what}: the call cannot be made; check endpoint_name and call_parameters"), sent=False
        )


def response_of_error(response: Mapping[str, Any]) -> Response:
    """An AWS error as the HTTP response that means the same; for a `ModelError`, the container's own response."""
    error = response.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    meta = response.get("ResponseMetadata", {})
    headers = _headers(response)
    if code == "ModelError":
        # AWS says 424 for whatever the container said; the container's own status decides about retries.
        status = response.get("OriginalStatusCode") or 500
        original = str(response.get("OriginalMessage") or message)
        return Response(int(status), headers, original.encode())
    status = STATUSES.get(code) or meta.get("HTTPStatusCode") or 500
    return Response(int(status), headers, orjson.dumps({"detail": message, "code": code}))


def _headers(response: Mapping[str, Any]) -> dict[str, str]:
    meta = response.get("ResponseMetadata", {})
    headers = {name.lower(): str(value) for name, value in meta.get("HTTPHeaders", {}).items()}
    if meta.get("RequestId"):
        headers["x-request-id"] = str(meta["RequestId"])
    return headers


def _find_spec(model: Any) -> ModelSpec:
    spec = find_model(model) if isinstance(model, str) else None
    if spec is None:
        raise ConfigurationError(f"unknown model {model!r}; a SageMaker endpoint runs 'jina-clip-v1' or 'jina-clip-v2'")
    return spec
