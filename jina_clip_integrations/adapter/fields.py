"""The options of all backends as pydantic fields, made from their settings classes. None means the default."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, Optional, Union, get_type_hints

from pydantic import BaseModel, Field, SecretStr, create_model, field_serializer

from ..backends.registry import BACKENDS
from ..credentials import clean_key, drop_sensitive, find_key
from ..settings import ApiSettings, ExportedSettings, LocalSettings, SageMakerSettings


def seal(given: object, *, source: str) -> SecretStr | None:
    """A key or token as a secret; None for an empty one, or the asterisks that a masked dump leaves behind.

    Raises `ConfigurationError`, without the value, for what cannot be a key.
    """
    key = clean_key(given, source=source)
    return None if key is None else SecretStr(key)


def key_from_environment() -> SecretStr | None:
    """The first usable key among the environment's variables (see `credentials`)."""
    return seal(find_key(None, environment=True).reveal(), source="the environment")


def _pydantic_fields() -> dict[str, tuple[Any, Any]]:
    """Option to type and field: what any backend allows, or None. Clients and other live objects are not validated."""
    kinds: dict[str, Any] = {}
    hidden: set[str] = set()
    for entry in BACKENDS.values():
        annotations = get_type_hints(entry.settings, localns={"httpx": _Unloaded})
        for declared in fields(entry.settings):
            name, kind = declared.name, annotations[declared.name]
            kinds[name] = kind if name not in kinds else Union[kinds[name], kind]  # noqa: UP007  # not of two types only
            if declared.metadata.get("live") or declared.metadata.get("secret"):
                kinds[name] = Any
                hidden.add(name)
    return {
        name: (Optional[kind], Field(default=None, exclude=name in hidden, repr=name not in hidden))  # noqa: UP045
        for name, kind in kinds.items()
    }


class _Unloaded:
    """Stands for httpx where annotations are evaluated, so that it need not be imported."""

    Client = AsyncClient = Any


if TYPE_CHECKING:  # the same for type checkers, which see the fields of the settings classes

    class BackendFields(BaseModel, ApiSettings, LocalSettings, ExportedSettings, SageMakerSettings):
        """Every option of every backend."""

        batch_size: int | Literal["auto"] | None = None  # type: ignore[assignment]  # each backend allows less
        num_workers: Any = None  # LlamaIndex has an option of its own of this name

else:
    BackendFields = create_model(
        "BackendFields",
        __base__=BaseModel,
        __doc__="Every option of every backend that has a name.",
        __module__=__name__,
        **_pydantic_fields(),
    )


class BackendOptions(BackendFields):
    """The options of the backends, with what credentials need besides: where a key comes from, and what is dumped."""

    api_key: Any = Field(default_factory=key_from_environment, exclude=True, repr=False)
    """`SecretStr`, or a callable that gives a fresh token; by default read from the environment."""
    headers: dict[str, str] | None = Field(default=None, repr=False)
    """Headers of your own. Those whose names suggest a credential are in no dump and no pickle."""
    token: SecretStr | None = Field(default=None, exclude=True, repr=False)  # type: ignore[assignment]  # sealed here
    """Hub token."""

    @field_serializer("headers")
    def _serialize_headers(self, headers: dict[str, str] | None) -> dict[str, str] | None:
        return drop_sensitive(headers) if headers else None
