"""The options of the two backends as pydantic fields. None always means that backend's own default."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, field_serializer

from ..credentials import clean_key, find_key, is_sensitive
from ..settings import RetryPolicy


def secret(given: object, *, source: str) -> SecretStr | None:
    """A key or token as a secret; None for an empty one, or the asterisks that a masked dump leaves behind.

    Raises `ConfigurationError`, without the value, for what cannot be a key.
    """
    key = clean_key(given, source=source)
    return None if key is None else SecretStr(key)


def key_from_environment() -> SecretStr | None:
    """The first usable key among the environment's variables (see `backends.keys`)."""
    return secret(find_key(None, environment=True).reveal(), source="the environment")


def harmless(headers: dict[str, str] | None) -> dict[str, str] | None:
    """The headers that may leave this process."""
    return {name: value for name, value in headers.items() if not is_sensitive(name)} if headers else None


class ApiOptions(BaseModel):
    """Options of `ApiBackend`."""

    api_key: Any = Field(default_factory=key_from_environment, exclude=True, repr=False)
    """`SecretStr`, or a callable that gives a fresh token; by default read from the environment."""
    base_url: str | None = None
    """Address of the service, or of a server of your own."""
    batch_size: int | Literal["auto"] | None = None
    """Inputs per request."""
    max_concurrency: int | None = None
    """Requests in flight at a time."""
    timeout: Any = None
    """Seconds for one attempt, or an `httpx.Timeout`."""
    max_retries: int | None = None
    """Attempts after the first."""
    dialect: Any = None
    """The server's way of speaking: a name or a `Dialect`."""
    embedding_type: str | None = None
    """How vectors travel: `base64` or `float`."""
    resize_images: bool | str | None = None
    """Downsize images before upload: True, False, `squash`, `crop` or `pad`."""
    requests_per_minute: int | None = None
    """Requests that may start within a minute."""
    tokens_per_minute: int | None = None
    """Tokens that may be sent within a minute."""
    token_budget: int | None = None
    """Tokens after which nothing more is sent."""
    headers: dict[str, str] | None = Field(default=None, repr=False)
    """Headers of your own. Those whose names suggest a credential are in no dump and no pickle."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` of your own."""
    async_http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` of your own."""
    max_request_bytes: int | None = None
    """Largest encoded request."""
    max_request_tokens: int | None = None
    """Most estimated tokens per request."""
    max_image_bytes: int | None = None
    """Largest image as base64 text."""
    max_response_bytes: int | None = None
    """Largest decoded answer that is read."""
    retry: RetryPolicy | None = None
    """Waits between attempts."""
    on_request: Any = Field(default=None, exclude=True, repr=False)
    """Called after every attempt with a `CallRecord`."""

    @field_serializer("headers")
    def _harmless_headers(self, headers: dict[str, str] | None) -> dict[str, str] | None:
        return harmless(headers)


class LocalOptions(BaseModel):
    """Options of `LocalBackend`, but for `num_workers`, which is LlamaIndex's own word."""

    batch_size: int | Literal["auto"] | None = None
    """Images per forward pass, and most texts per forward pass."""
    device: str | list[str] | None = None
    """`auto`, a torch device, or a list of them with one worker each."""
    dtype: str | None = None
    """`auto`, `bfloat16`, `float16` or `float32`."""
    max_length: int | None = None
    """Longest text in tokens."""
    fast_decode: bool | None = None
    """Decode JPEGs at a fraction of their size; vectors differ slightly."""
    attn_implementation: str | None = None
    """`sdpa` or `eager`."""
    compile: bool | None = None
    """Compile the towers with `torch.compile`."""
    revision: str | None = None
    """Branch, tag or commit of a Hub id."""
    cache_dir: str | None = None
    """Where files of the Hub are kept."""
    local_files_only: bool | None = None
    """Never fetch weights."""
    token: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """Hub token."""
