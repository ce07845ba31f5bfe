"""The tree of errors: what is caught by what, what is said, what survives pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations import errors
from jina_clip_integrations.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    BackendError,
    CheckpointError,
    ConfigurationError,
    ImageError,
    InputError,
    JinaClipError,
    RateLimitError,
    require_extra,
)

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, JinaClipError)]


def test_the_tree_is_the_one_drawn_on_top() -> None:
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"^([│├└─ ]*)(\w+Error)\b(?: \((\w+)\))?", line)
        if found is None:
            continue
        depth = len(found[1]) // 4
        path = [*path[:depth], found[2]]
        drawn[found[2]] = path[depth - 1] if depth else "Exception"
        if found[3]:
            builtin: Any = {"ValueError": ValueError, "TimeoutError": TimeoutError}[found[3]]
            assert issubclass(getattr(errors, found[2]), builtin)
    assert drawn == {kind.__name__: kind.__mro__[1].__name__ for kind in ALL}


def example(kind: type[JinaClipError]) -> JinaClipError:
    if issubclass(kind, InputError):
        return kind("what was wrong", index=7)
    if issubclass(kind, RateLimitError):
        return kind("what was wrong", retry_after_s=3.5, status_code=429, code="RATE", request_id="r1", body="slow")
    if issubclass(kind, ApiError):
        return kind("what was wrong", status_code=500, code="X", request_id="r1", body="no")
    if issubclass(kind, CheckpointError):
        return kind("what was wrong", tensors=("a.weight", "b.bias"))
    return kind("what was wrong")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_everything(kind: type[JinaClipError], protocol: int) -> None:
    error = example(kind)
    error.partial = np.eye(2, dtype=np.float32)
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is kind
    assert (str(twin), twin.args) == (str(error), error.args)
    np.testing.assert_array_equal(twin.__dict__.pop("partial"), error.__dict__.pop("partial"))
    assert twin.__dict__ == error.__dict__


@pytest.mark.parametrize("kind", ALL)
def test_copies_are_independent(kind: type[JinaClipError]) -> None:
    error = example(kind)
    twin = copy.copy(error)
    twin.partial = np.zeros((1, 1), np.float32)
    assert error.partial is None
    assert str(twin) == str(error)


def test_caught_as_what_a_caller_would_guess() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(ImageError, ValueError)
    assert issubclass(ApiTimeoutError, TimeoutError)
    assert issubclass(ApiTimeoutError, ApiConnectionError)
    assert not issubclass(BackendError, ValueError)


def test_an_input_error_names_its_index() -> None:
    error = ImageError("a.png: no such file")
    assert (str(error), error.index) == ("a.png: no such file", None)
    assert error.at(4) is error
    assert str(error) == "input 4: a.png: no such file"


@pytest.mark.parametrize(
    ("positions", "said"), [((), "refused"), ((3,), "refused (input 3)"), ((5, 2, 4), "refused (inputs 2 to 5)")]
)
def test_an_api_error_names_its_inputs(positions: tuple[int, ...], said: str) -> None:
    error = ApiError("refused", status_code=400)
    error.positions = positions
    assert str(error) == said


class TestExtras:
    def test_present(self) -> None:
        require_extra("numpy", extra="local", purpose="this")
        require_extra("numpy.linalg", extra="local", purpose="this")

    @pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part", "numpy.no_such_part"])
    def test_missing(self, module: str) -> None:
        line = re.escape('install it with: pip install "jina-clip-integrations[local]"')
        with pytest.raises(ImportError, match=rf"this needs the package '{module.split('.')[0]}'; {line}"):
            require_extra(module, extra="local", purpose="this")
