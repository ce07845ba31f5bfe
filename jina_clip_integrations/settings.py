"""Every default in one place: frozen, keyword-only settings behind the constructors' plain keywords.

The list of options that a backend knows, and the error for an unknown one, come from these fields.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

DEFAULT_MAX_LENGTH = 8192
"""Tokens, special tokens included: what both models take. The published `encode_text` stops at 512 by default."""

HOSTED_BASE_URL = "https://api.jina.ai/v1"
"""The hosted service."""

DEFAULT_API_BATCH_SIZE = 256
"""Items per request, also bounded by `max_request_bytes` and `max_request_tokens`."""

DEFAULT_MAX_CONCURRENCY = 32
"""Ceiling of the requests in flight."""

DEFAULT_TIMEOUT_S = 90.0
"""Seconds per attempt: unused models are unloaded by the service and need some seconds to warm up."""

DEFAULT_MAX_RETRIES = 5
"""Attempts after the first."""

EMBEDDING_TYPES = ("base64", "float", "binary", "ubinary")
"""How vectors may travel; the last two are packed bits."""

RESIZE_MODES = (True, False, "squash", "crop", "pad")
"""What may happen to an image before it is sent."""

SECRET_OPTIONS = frozenset({"api_key", "headers", "token"})
"""Options that may hold a credential: never shown, never serialised."""

LIVE_OPTIONS = frozenset({"http_client", "async_http_client", "on_request"})
"""Options that hold a live object of this process: never serialised."""

Device: TypeAlias = "str | list[str]"
"""`auto`, a torch device name such as `cuda:1`, or a list of them (one worker each)."""


def require_integer(name: str, value: object, *, minimum: int) -> None:
    """Raise `ConfigurationError` unless `value` is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name} must be an integer, not {type(value).__name__}")
    if value < minimum:
        raise ConfigurationError(f"{name}={value}: must be at least {minimum}")


def require_number(name: str, value: object, *, minimum: float) -> None:
    """Raise `ConfigurationError` unless `value` is a finite number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not (math.isfinite(value) and value >= minimum):
        raise ConfigurationError(f"{name}={value}: must be finite and at least {minimum:g}")


def require_choice(name: str, value: object, choices: tuple[bool | str, ...]) -> None:
    """Raise `ConfigurationError` unless `value` is one of `choices`."""
    if not any(value is choice if isinstance(choice, bool) else value == choice for choice in choices):
        shown = repr(value) if isinstance(value, (bool, str, int)) else f"a {type(value).__name__}"
        raise ConfigurationError(f"{name} is {shown}; choose one of {', '.join(map(repr, choices))}")


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """How a model runs on this machine."""

    device: Device = "auto"
    """`auto` takes cuda, then mps, then cpu; a list runs one worker per device."""
    dtype: str = "auto"
    """`auto`: bfloat16 if every device multiplies it natively, else float32 on all. Never float16 on a CPU."""
    batch_size: int | Literal["auto"] = "auto"
    """Images per forward pass; texts are batched by tokens, with at most this many where it is a number."""
    max_length: int = DEFAULT_MAX_LENGTH
    """Longest text in tokens, special tokens included; longer texts are cut with a warning."""
    num_workers: int | Literal["auto"] = "auto"
    """Threads that decode and resize images while the model computes."""
    fast_decode: bool = False
    """Whether JPEGs may be decoded at a fraction of their size, at least twice the model's; vectors differ slightly."""
    attn_implementation: str = "sdpa"
    """Attention of the model: `sdpa` (fused kernels) or `eager` (for comparison)."""
    compile: bool = False
    """Whether to compile the towers with `torch.compile` (slow to start)."""
    revision: str | None = None
    """Branch, tag or commit of a Hub id."""
    cache_dir: str | None = None
    """Where Hub files are kept; None = the Hub client's default."""
    local_files_only: bool = False
    """Never go to the network for weights."""
    token: str | None = None
    """Hub token, for gated or private checkpoints; None = the Hub client's own login."""

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "token"}
        changed = (f"{name}={value!r}" for name, value in shown.items() if value != _default(type(self), name))
        return f"{type(self).__name__}({', '.join(changed)})"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long a refused or lost request waits for its next attempt. All times in seconds."""

    first_wait_s: float = 0.5
    """Wait before the second attempt; doubles from attempt to attempt, plus up to a quarter of jitter."""
    longest_wait_s: float = 30.0
    """Ceiling of that doubling."""
    request_limit_wait_s: float = 2.0
    """First wait after "too many requests" when the server names none; doubles as well."""
    token_limit_wait_s: float = 10.0
    """First wait after "too many tokens" when the server names none; the limits count whole minutes."""
    longest_server_wait_s: float = 120.0
    """A server that asks for a longer wait than this makes the call fail at once instead."""
    longest_total_s: float = 600.0
    """No new attempt of a request is begun this long after its first one."""

    def __post_init__(self) -> None:
        for item in fields(self):
            require_number(item.name, getattr(self, item.name), minimum=0.0)


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """How a remote service is spoken to. The hosted Jina API unless `base_url` says otherwise."""

    api_key: Any = None
    """A string, an object with `get_secret_value()`, or a callable returning a fresh token; None = the environment."""
    base_url: str = HOSTED_BASE_URL
    """Address in front of the dialect's path; a prefix in it is kept."""
    batch_size: int = DEFAULT_API_BATCH_SIZE
    """Most items per request; vendor pages speak of 512, 2,048 and no limit, so stay far below."""
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    """Most requests in flight. It starts with 2, as free keys allow, and doubles while the service is content."""
    timeout: Any = DEFAULT_TIMEOUT_S
    """Seconds for one attempt from connecting to the last byte, or an `httpx.Timeout`. Allows for a cold start."""
    max_retries: int = DEFAULT_MAX_RETRIES
    """Attempts after the first."""
    dialect: Any = "jina"
    """The server's way of speaking: a name of `DIALECTS` or a `Dialect`. Never guessed."""
    embedding_type: str = "base64"
    """`base64` and `float` are ways of travelling; `binary` and `ubinary` ask for packed bits."""
    resize_images: bool | str = True
    """True = one tile in the model's own geometry; `squash`, `crop`, `pad` = other recipes; False = as it is."""
    requests_per_minute: int | None = None
    """Pace in requests per 60 s; None = only what the service's headers and refusals say."""
    tokens_per_minute: int | None = None
    """Pace in tokens per 60 s, estimated beforehand and corrected by what the service counts."""
    token_budget: int | None = None
    """Tokens that this object may spend in this process; what could overspend is not sent, texts at their most."""
    headers: Mapping[str, str] | None = None
    """Headers of your own for every request, such as a gateway's credentials."""
    http_client: httpx.Client | None = None
    """A client with proxies, certificates or transports of your own; stays yours to close."""
    async_http_client: httpx.AsyncClient | None = None
    """The same for the async methods; belongs to the event loop you use it in."""
    max_request_bytes: int = 4 * 1024 * 1024
    """Largest encoded body; a single larger item still travels alone."""
    max_request_tokens: int = 50_000
    """Most estimated tokens per request; a single larger item still travels alone."""
    max_image_bytes: int = 8 * 1024 * 1024
    """Largest image as base64 text; a larger one is refused here. The API's documented figure."""
    max_response_bytes: int = 64 * 1024 * 1024
    """Largest decoded answer that is read."""
    retry: RetryPolicy = RetryPolicy()  # frozen, so it may be shared
    """Waits between attempts."""
    on_request: Callable[[Any], None] | None = None
    """Called after every attempt with a `CallRecord` (figures for metrics, no payloads)."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_concurrency", "max_request_bytes", "max_request_tokens", "max_image_bytes"):
            require_integer(name, getattr(self, name), minimum=1)
        require_integer("max_response_bytes", self.max_response_bytes, minimum=1)
        require_integer("max_retries", self.max_retries, minimum=0)
        for name in ("requests_per_minute", "tokens_per_minute", "token_budget"):
            if getattr(self, name) is not None:
                require_integer(name, getattr(self, name), minimum=0 if name == "token_budget" else 1)
        require_choice("embedding_type", self.embedding_type, EMBEDDING_TYPES)
        require_choice("resize_images", self.resize_images, RESIZE_MODES)
        if isinstance(self.timeout, (bool, int, float)):
            require_number("timeout", self.timeout, minimum=0.001)
        elif not hasattr(self.timeout, "as_dict"):
            raise ConfigurationError(f"timeout must be seconds or an httpx.Timeout, not {type(self.timeout).__name__}")

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SECRET_OPTIONS | LIVE_OPTIONS}
        shown["base_url"] = self.base_url.partition("?")[0]  # what follows may be a credential
        changed = (f"{name}={value!r}" for name, value in shown.items() if value != _default(type(self), name))
        return f"{type(self).__name__}({', '.join(changed)})"


def _default(settings: type, name: str) -> Any:
    return next(f.default for f in fields(settings) if f.name == name)


def option_names(settings: type) -> tuple[str, ...]:
    """Names of the options that a settings class knows, in order."""
    return tuple(f.name for f in fields(settings))


def reject_unknown(given: Mapping[str, Any], known: Iterable[str], *, where: str) -> None:
    """Raise `ConfigurationError` for the first name in `given` that is not in `known`, with the nearest known name."""
    names = sorted(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"unknown option {name!r} for {where}.{hint} Known: {', '.join(names)}")
