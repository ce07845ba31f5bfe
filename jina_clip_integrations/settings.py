"""Every option of every backend, declared once, in frozen, keyword-only settings classes.

A constructor's signature, the fields of the two adapters, the error for an unknown option and the tables of
`docs/backends.md` all come from these fields: name, type, default, the docstring below each, and what `option` says.
"""

from __future__ import annotations

import difflib
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, cast

from .credentials import public_url
from .errors import ConfigurationError

if TYPE_CHECKING:
    import httpx
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda function: function


P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_MODEL = "jina-clip-v2"
"""The model where none is named."""

MAX_LENGTH = 8192
"""Tokens, special tokens included: what both models take. The published `encode_text` stops at 512 by default."""

MIN_LENGTH = 3
"""Tokens: the two special ones and a token of the text."""

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

SAGEMAKER_BATCH_SIZE = 32
"""Items per call of a SageMaker endpoint, which has one instance's memory."""

SAGEMAKER_MAX_BODY_BYTES = 6 * 1024 * 1024
"""Largest body of a synchronous call (AWS documentation); serverless endpoints take 4 MB."""

SAGEMAKER_TIMEOUT_S = 65.0
"""A little more than the 60 s after which AWS ends a synchronous call, so that its error arrives."""

PACKED_TYPES = ("binary", "ubinary")
"""Encodings that give packed bits instead of floats."""

EMBEDDING_TYPES = ("base64", "float", *PACKED_TYPES)
"""Encodings of the vectors in responses."""

RESIZE_MODES = (True, False, "squash", "crop", "pad")
"""What may happen to an image before it is sent."""


Device: TypeAlias = str | list[str]
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
    # By identity for booleans, since 1 is equal to True.
    if not any(value is choice if isinstance(choice, bool) else value == choice for choice in choices):
        given = repr(value) if isinstance(value, (bool, str, int)) else f"a {type(value).__name__}"
        raise ConfigurationError(f"{name} is {given}; choose one of {', '.join(map(repr, choices))}")


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def settings(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass, which compares by value.

    Type checkers are told of no freezing, so that the adapters' models, which may be changed, can take over the fields.
    """
    return dataclass(frozen=True, kw_only=True, repr=False)(cls)


def option(default: Any, *, secret: bool = False, live: bool = False, changes_vectors: bool = False) -> Any:
    """A field of a settings class with more to it than a default.

    Args:
        default: The default, if it can be shared.
        secret: It may hold a credential: never shown, never serialised.
        live: It holds an object of this process, such as a client: never serialised, shared by copies.
        changes_vectors: Other values may give other vectors, so caches of vectors must know it.
    """
    metadata = {"secret": secret, "live": live, "changes_vectors": changes_vectors}
    return field(default=default, metadata=metadata)


class _Settings:
    """What all settings classes share: a `repr` of what differs from the defaults, without credentials."""

    def __repr__(self) -> str:
        hidden = SECRET_OPTIONS | LIVE_OPTIONS
        public = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}  # type: ignore[arg-type]
        if isinstance(public.get("base_url"), str):
            public["base_url"] = public_url(public["base_url"])
        defaults = {f.name: f.default for f in fields(self)}  # type: ignore[arg-type]
        changed = (f"{name}={value!r}" for name, value in public.items() if value != defaults[name])
        return f"{type(self).__name__}({', '.join(changed)})"


@settings
class RetryPolicy(_Settings):
    """Waits between the attempts of a request that was refused or got no response. All times in seconds."""

    first_wait_s: float = 0.5
    """Wait before the second attempt; doubles from attempt to attempt, plus up to a quarter of jitter."""
    longest_wait_s: float = 30.0
    """Ceiling of that doubling."""
    request_limit_wait_s: float = 2.0
    """First wait after "too many requests" when the server names none; doubles as well."""
    token_limit_wait_s: float = 10.0
    """First wait after "too many tokens" when the server names none; the limits count whole minutes."""
    longest_server_wait_s: float = 120.0
    """If a server asks for a longer wait than this, the call fails at once."""
    longest_total_s: float = 600.0
    """No new attempt of a request starts later than this after its first one."""

    def __post_init__(self) -> None:
        for item in fields(self):
            require_number(item.name, getattr(self, item.name), minimum=0.0)


def check_counts(settings: object, *names: str) -> None:
    """Raise `ConfigurationError` unless each of these settings is a positive integer or `auto`."""
    for name in names:
        value = getattr(settings, name)
        if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigurationError(f'{name}={value!r}: give a whole number from 1 up, or "auto"')


def check_max_length(length: object) -> None:
    """Raise `ConfigurationError` unless this is a number of tokens that the models take."""
    if isinstance(length, bool) or not isinstance(length, int) or not MIN_LENGTH <= length <= MAX_LENGTH:
        raise ConfigurationError(f"max_length={length!r}: give a number of tokens from {MIN_LENGTH} to {MAX_LENGTH}")


@settings
class LocalSettings(_Settings):
    """Options of a model that runs on this machine."""

    device: Device = option("auto", changes_vectors=True)
    """`auto` takes cuda, then mps, then cpu; a list runs one worker per device, and rows keep their order. Workers on
    one device share its weights, CPU workers its processors. What transformers calls `device_map`."""
    dtype: str = option("auto", changes_vectors=True)
    """`auto` (bfloat16 if every device multiplies it natively, else float32 on all), `bfloat16`, `float16` (never on a
    CPU) or `float32`."""
    batch_size: int | Literal["auto"] = "auto"
    """Images per forward pass, and maximum number of texts; `auto` fits the device."""
    max_length: int = option(MAX_LENGTH, changes_vectors=True)
    """Longest text in tokens, special tokens included (3 to 8192); longer texts are truncated with a warning."""
    num_workers: int | Literal["auto"] = "auto"
    """Threads that decode and resize images while the model computes; `auto` = the number of processors."""
    fast_decode: bool = option(False, changes_vectors=True)
    """Decode JPEGs at a half, quarter or eighth of their size where that leaves at least twice the model's. Large
    photos take a fraction of the time; their vectors differ slightly from the published ones."""
    image_size: int | None = option(None, changes_vectors=True)
    """A quick look: images are computed at this side in pixels, which takes a fraction of the time. None = the model's
    own: 512 for v2, which takes whole patches from 224 (5.9 times less work) over 336 (2.5 times less) to 504; 224 for
    v1, from 112 on. Vectors of another size are never compared with those of the model's own."""
    attn_implementation: str = "sdpa"
    """Attention of the model: `sdpa` (fused kernels) or `eager` (for comparison)."""
    compile: bool = False
    """Compile the towers with `torch.compile`, for GPUs: the first batches take minutes, later ones of any size and
    length none. The text tower of v1 stays as it is. On a CPU the packed weights of `False` are faster."""
    revision: str | None = option(None, changes_vectors=True)
    """Branch, tag or commit of a Hub id."""
    cache_dir: str | os.PathLike[str] | None = None
    """Where files of the Hub are kept; None = the Hub client's default."""
    local_files_only: bool = False
    """Never go to the network for weights."""
    token: str | None = option(None, secret=True)
    """Hub token, for gated or private checkpoints; None = the Hub client's own login."""

    def __post_init__(self) -> None:
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", os.fspath(self.cache_dir))
        check_counts(self, "batch_size", "num_workers")
        check_max_length(self.max_length)
        if self.image_size is not None:
            require_integer("image_size", self.image_size, minimum=1)


@settings
class ExportedSettings(_Settings):
    """Options of a model that was exported for another runtime and runs on this machine."""

    device: Device = option("auto", changes_vectors=True)
    """ONNX Runtime: `auto`, `cpu` or `cuda`. OpenVINO: `auto` (the processor) or one of its devices, such as `gpu`."""
    batch_size: int | Literal["auto"] = "auto"
    """Images per pass, and maximum number of texts; `auto` suits a processor."""
    max_length: int = option(MAX_LENGTH, changes_vectors=True)
    """Longest text in tokens, special tokens included (3 to 8192, and no more than the export allows); longer texts are
    truncated with a warning."""
    num_workers: int | Literal["auto"] = "auto"
    """Threads that decode and resize images; `auto` = the number of processors."""
    num_threads: int | None = None
    """Threads that the runtime computes with; None = the number of processors."""
    fast_decode: bool = option(False, changes_vectors=True)
    """As for the local backend."""

    def __post_init__(self) -> None:
        check_counts(self, "batch_size", "num_workers")
        check_max_length(self.max_length)
        if self.num_threads is not None:
            require_integer("num_threads", self.num_threads, minimum=1)
        if not isinstance(self.device, str):
            raise ConfigurationError(f"device={self.device!r}: an exported model runs on one device, given by its name")


@settings
class RemoteSettings(_Settings):
    """Options of a remote service, whatever carries the requests."""

    batch_size: int = DEFAULT_API_BATCH_SIZE
    """Maximum number of items per request; bytes and tokens per request are bounded too. Vendor pages speak of 512,
    2,048 and no limit, so the default stays far below."""
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    """Maximum number of requests in flight. It starts with 2, as free keys allow, and adapts to what the service
    accepts."""
    timeout: Any = DEFAULT_TIMEOUT_S
    """Seconds for one attempt from connecting to the last byte, or (API only) an `httpx.Timeout`."""
    max_retries: int = DEFAULT_MAX_RETRIES
    """Attempts after the first, for failures that may pass."""
    dialect: Any = option("jina", changes_vectors=True)
    """The server's wire format: `jina`, `jina-onprem`, `infinity`, `xinference`, `openai`, `invocations`, or a
    `Dialect` of your own. Never guessed."""
    embedding_type: str = "base64"
    """Encoding of the vectors in responses: `base64` and `float` both give float32 rows; `binary` and `ubinary` ask for
    packed bits, `ceil(d / 8)` uint8."""
    resize_images: bool | str = option(True, changes_vectors=True)
    """True sends one tile in the model's own geometry; `squash`, `crop`, `pad` are other recipes; False sends images as
    they are, and URLs unfetched."""
    requests_per_minute: int | None = None
    """Requests that may start within 60 s; None = only what the service's headers and error responses say."""
    tokens_per_minute: int | None = None
    """Tokens that may be sent within 60 s, estimated beforehand and corrected by what the service counts."""
    token_budget: int | None = None
    """Tokens that this object may spend in this process. A request is sent only if the upper bounds of its cost and of
    those under way fit; images that the service fetches are fetched by the client too, for their size."""
    shared_limits: Any = None
    """What many processes share the three limits above by, which are then its own: a `RayLimiter` of
    `jina_clip_integrations.ray`. Pickles keep it."""
    max_request_bytes: int = 4 * 1024 * 1024
    """Largest encoded body; a single larger item is still sent, alone."""
    max_request_tokens: int = 50_000
    """Maximum of estimated tokens per request; a single larger item is still sent, alone."""
    max_image_bytes: int = 8 * 1024 * 1024
    """Largest image as base64 text; a larger one is refused before it is sent. The API's documented figure."""
    max_response_bytes: int = 64 * 1024 * 1024
    """Largest decoded response that is read."""
    retry: RetryPolicy = RetryPolicy()  # frozen, so it may be shared
    """Waits between attempts."""
    on_request: Callable[[Any], None] | None = option(None, live=True)
    """Called after every attempt with a `CallRecord` (figures for metrics, no payloads); must be quick and
    thread-safe."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_concurrency", "max_request_bytes", "max_request_tokens", "max_image_bytes"):
            require_integer(name, getattr(self, name), minimum=1)
        require_integer("max_response_bytes", self.max_response_bytes, minimum=1)
        require_integer("max_retries", self.max_retries, minimum=0)
        for name in ("requests_per_minute", "tokens_per_minute", "token_budget"):
            if getattr(self, name) is not None:
                require_integer(name, getattr(self, name), minimum=0 if name == "token_budget" else 1)
        if self.shared_limits is not None:
            self._check_shared_limits()
        require_choice("embedding_type", self.embedding_type, EMBEDDING_TYPES)
        require_choice("resize_images", self.resize_images, RESIZE_MODES)
        if isinstance(self.timeout, (bool, int, float)):
            require_number("timeout", self.timeout, minimum=0.001)
        elif not hasattr(self.timeout, "as_dict"):
            raise ConfigurationError(f"timeout must be seconds or an httpx.Timeout, not {type(self.timeout).__name__}")

    def _check_shared_limits(self) -> None:
        if not hasattr(self.shared_limits, "ask"):
            raise ConfigurationError(f"shared_limits must be a limiter, not {type(self.shared_limits).__name__}")
        for name in ("requests_per_minute", "tokens_per_minute", "token_budget"):
            if getattr(self, name) is not None:
                raise ConfigurationError(
                    f"{name} is given beside shared_limits; give it to the limiter, which keeps it for all processes"
                )


@settings
class ApiSettings(RemoteSettings):
    """The hosted Jina API, or another HTTP server, as `base_url` and `dialect` say."""

    api_key: Any = option(None, secret=True)
    """A string, an object with `get_secret_value()`, or a callable that returns a fresh token before every request.
    None: `JINA_API_KEY`, `JINAAI_API_KEY` or `JINA_AUTH_TOKEN`, for servers of the `jina` dialect."""
    base_url: str = option(HOSTED_BASE_URL, changes_vectors=True)
    """Address in front of the dialect's path. A key is needed for the hosted service only, and is never sent over plain
    http to another machine."""
    headers: Mapping[str, str] | None = option(None, secret=True)
    """Headers of your own for every request, such as a gateway's credentials."""
    http_client: httpx.Client | None = option(None, live=True)
    """A client with proxies, certificates or transports of your own; it is never closed."""
    async_http_client: httpx.AsyncClient | None = option(None, live=True)
    """The same for the async methods; belongs to the event loop you use it in."""


@settings
class SageMakerSettings(RemoteSettings):
    """An Amazon SageMaker endpoint."""

    endpoint_name: str | None = option(None, changes_vectors=True)
    """Name of the endpoint; required."""
    client: Any = option(None, live=True)
    """A boto3 client of `sagemaker-runtime`; its own timeouts and retries then apply too. None: one with the usual AWS
    credentials."""
    region_name: str | None = option(None, changes_vectors=True)
    """AWS region of the client unless one is given; None = the region of the AWS configuration."""
    call_parameters: Mapping[str, Any] | None = option(None, changes_vectors=True)
    """More arguments of `invoke_endpoint`, such as `TargetVariant`."""
    dialect: Any = option("invocations", changes_vectors=True)
    """The container's wire format, should yours differ."""
    batch_size: int = SAGEMAKER_BATCH_SIZE
    timeout: Any = SAGEMAKER_TIMEOUT_S
    embedding_type: str = "float"
    max_request_bytes: int = SAGEMAKER_MAX_BODY_BYTES
    max_image_bytes: int = SAGEMAKER_MAX_BODY_BYTES - 1024  # leaves room for the rest of the body

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.endpoint_name, str) or not self.endpoint_name:
            raise ConfigurationError("endpoint_name must be the name of a SageMaker endpoint")
        if not isinstance(self.timeout, (int, float)):
            raise ConfigurationError("timeout must be a number of seconds for a SageMaker endpoint")


ALL_SETTINGS: tuple[type, ...] = (ApiSettings, LocalSettings, SageMakerSettings)
"""The settings of every backend that has a name."""


def _options_that(marked: str) -> tuple[str, ...]:
    names = (f.name for cls in ALL_SETTINGS for f in fields(cls) if f.metadata.get(marked))
    return tuple(dict.fromkeys(names))


SECRET_OPTIONS = frozenset(_options_that("secret"))
"""Options that may hold a credential: never shown, never serialised."""

LIVE_OPTIONS = frozenset(_options_that("live"))
"""Options that hold a live object of this process: never serialised."""


def vector_option_names() -> tuple[str, ...]:
    """Names of the backends' options on which vectors depend."""
    return _options_that("changes_vectors")


def constructor(
    arguments: Callable[P, Any],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Give an `__init__(self, **arguments)` the parameters of a settings class, for type checkers and at run time.

    So a backend's constructor need not repeat its options: it has the names, types and defaults of `arguments`, and
    raises `TypeError` for anything else.
    """
    signature = inspect.signature(arguments)

    def decorate(init: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        @wraps(init)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it is one
            init(self, **signature.bind(*args, **kwargs).arguments)

        parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *signature.parameters.values()]
        __init__.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return cast("Callable[Concatenate[Any, P], None]", __init__)

    return decorate


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
