"""`ApiBackend`: the hosted Jina API, or any server that speaks one of the dialects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from ..._version import USER_AGENT
from ...catalog import MODELS, ModelSpec, find_model
from ...credentials import KEY_VARIABLES, Key, drop_sensitive, find_key, is_loopback, is_sensitive, public_url
from ...errors import ConfigurationError
from ...settings import HOSTED_BASE_URL, LIVE_OPTIONS, SECRET_OPTIONS, ApiSettings, constructor, settings
from .backend import RemoteBackend
from .dialects import find_dialect
from .transport import HttpTransport

HOSTED = urlsplit(HOSTED_BASE_URL).hostname


@settings
class ApiArguments(ApiSettings):
    """Arguments of `ApiBackend`: the model, then every setting by its name."""

    model: str = field(kw_only=False)


class ApiBackend(RemoteBackend):
    """Vectors from the hosted Jina API, or from a server of your own that speaks a `Dialect`.

        ApiBackend("jina-clip-v2")                                                     # key from JINA_API_KEY
        ApiBackend("jina-clip-v2", base_url="http://localhost:7997", dialect="infinity")

    Safe to share between threads and tasks, which then share its limits; forked children open connections of their own.
    Pickles and copies leave the key, headers that may hold one, clients and hooks behind; the key is then read from the
    environment again.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, or any name that a server of your own knows.
        **options: The fields of `ApiSettings` under their own names. None means the default.

    Raises:
        ConfigurationError: a setting that cannot work, an unknown model at the hosted service, or no key for it.
    """

    kind: ClassVar[str] = "api"

    @constructor(ApiArguments)
    def __init__(self, model: str, **options: Any) -> None:
        self._configure(model, options, key_needed=True)

    def _configure(self, model: str, given: Mapping[str, Any], *, key_needed: bool) -> None:
        """`key_needed` is False for an unpickled object, whose key is wanted at its first call only."""
        options = {name: value for name, value in given.items() if value is not None}  # None = the default
        chosen = ApiSettings(**options)
        dialect = find_dialect(chosen.dialect)
        address = _Address.parse(chosen.base_url, dialect.path)
        key = find_key(chosen.api_key, environment=dialect.environment_key)
        if key and not address.is_private:
            # A key that is meant for this server is an error; one that merely lies in the environment is not sent.
            if chosen.api_key is not None or address.is_hosted:
                raise ConfigurationError(
                    f"base_url: a key does not go over plain http to {address.host}; use https. (Credentials of a "
                    "gateway in your own network may be passed in headers.)"
                )
            key = Key(None, source="none")  # a key for the hosted service is not for this server
        self._address_of_service = address
        self._key = key
        self._base_url = public_url(chosen.base_url)
        self._options = options
        self._extra_headers = _check_headers(chosen.headers)
        spec = _find_spec(model, hosted=address.is_hosted)
        if address.is_hosted and key_needed:
            self._require_key()
        transport = HttpTransport(
            url=address.url,
            host=address.host,
            # Headers are made once, unless a token has to be renewed or a key may still turn up.
            headers=self._headers if key.is_renewed or (address.is_hosted and not key) else self._headers(),
            timeout=chosen.timeout,
            client=_check_client(chosen.http_client, "http_client", awaitable=False),
            async_client=_check_client(chosen.async_http_client, "async_http_client", awaitable=True),
        )
        self._set_up(
            model=spec.name if spec is not None and address.is_hosted else model,
            spec=spec,
            settings=chosen,
            dialect=dialect,
            name=address.host,
            transport=transport,
            secrets=self._secrets,
            address=public_url(address.url),
        )

    @property
    def base_url(self) -> str:
        """Address of the service, without what may be a credential in it."""
        return self._base_url

    def __repr__(self) -> str:
        options = repr(self._settings).partition("(")[2][:-1]
        return f"{type(self).__name__}({', '.join(filter(None, (repr(self.model), options)))})"

    def __getstate__(self) -> dict[str, Any]:
        dropped = SECRET_OPTIONS | LIVE_OPTIONS
        options = {name: value for name, value in self._options.items() if name not in dropped}
        options["headers"] = drop_sensitive(self._extra_headers)
        return {"model": self.model, "options": options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._configure(state["model"], state["options"], key_needed=False)

    def _address(self) -> str:
        return public_url(self._address_of_service.url)

    def _headers(self) -> dict[str, str]:
        """Headers of one request; asks a callable key for its token. Raises `ConfigurationError` without a key."""
        if self._address_of_service.is_hosted:
            self._require_key()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": USER_AGENT}
        token = self._key.reveal()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        # The caller's own win, whatever their case: a gateway may want another `Authorization`.
        overridden = {name.lower() for name in self._extra_headers}
        return {name: value for name, value in headers.items() if name.lower() not in overridden} | self._extra_headers

    def _require_key(self) -> None:
        if not self._key and not any(name.lower() == "authorization" for name in self._extra_headers):
            raise ConfigurationError(
                f"no key for {HOSTED}: pass api_key or set {KEY_VARIABLES[0]} ({' and '.join(KEY_VARIABLES[1:])} are "
                "read too); a server of your own (base_url) needs none"
            )

    def _secrets(self) -> tuple[str, ...]:
        """What must not show: the key, and headers that may hold one, with and without their scheme."""
        values = (value for name, value in self._extra_headers.items() if is_sensitive(name))
        return self._key.known + tuple(part for value in values for part in (value, *value.split()[1:]) if part)


class _Address:
    """Where requests go."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or ""
        self.is_hosted = self.host == HOSTED
        self.is_private = parts.scheme == "https" or is_loopback(self.host)
        """Whether nobody between here and there can read what is sent."""

    @classmethod
    def parse(cls, base_url: Any, path: str) -> _Address:
        """`base_url` with the dialect's path behind its own. Raises `ConfigurationError`, without the URL's secrets."""
        if not isinstance(base_url, str):
            raise ConfigurationError(f"base_url must be a string, not {type(base_url).__name__}")
        try:
            parts = urlsplit(base_url.strip())
            parts.port  # noqa: B018  # raises for a port that is no number
        except ValueError as error:
            raise ConfigurationError("base_url is not a valid address") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("base_url must begin with https:// or http:// and name a host")
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError("base_url holds a user name or password; pass credentials in headers instead")
        # The path is kept and not replaced, as `urljoin` would: a proxy's prefix is part of the address.
        prefix = parts.path.rstrip("/")
        whole = prefix if path and prefix.endswith(path) else prefix + path
        return cls(urlunsplit((parts.scheme, parts.netloc, whole, parts.query, "")))


def _find_spec(model: Any, *, hosted: bool) -> ModelSpec | None:
    if not isinstance(model, str) or not model:
        raise ConfigurationError("model must be the name of a model")
    spec = find_model(model)
    if spec is None and hosted:
        if model == "demo" or os.path.isdir(os.path.expanduser(model)):
            raise ConfigurationError(f'model {model!r} lives on this machine, not at the API; use backend="local"')
        names = ", ".join(name for name in MODELS if "/" not in name)
        raise ConfigurationError(f"unknown model {model!r}; {HOSTED} has {names}. For others set base_url")
    return spec


def _check_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError("headers must map names to strings")
        if not (name.isascii() and name.isprintable() and value.isascii() and value.isprintable()):
            raise ConfigurationError(f"headers: {name[:40]!r} holds a character that no header may have")
    return dict(headers or {})


def _check_client(client: Any, name: str, *, awaitable: bool) -> Any:
    # By what it can do, so that neither httpx has to be imported nor a test double to be derived from its classes.
    if client is not None and hasattr(client, "aclose") is not awaitable:
        wanted = "httpx.AsyncClient" if awaitable else "httpx.Client"
        raise ConfigurationError(f"{name} must be an {wanted}, not {type(client).__name__}")
    return client
