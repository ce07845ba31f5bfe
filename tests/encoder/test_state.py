"""Choosing a backend, opening and closing, copies, pickles and forks, and what is shown."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from jina_clip_integrations import BackendError, ConfigurationError, JinaClipEncoder, SourcePolicy
from jina_clip_integrations.backends import registry
from jina_clip_integrations.cache import DiskCache, MemoryCache
from jina_clip_integrations.errors import require_extra
from tests.fakes import BlockingBackend, StreamingFake, text_vector, unit

KEY = "jina_0123456789abcdef_secret"
HEADERS = {"Authorization": KEY, "X-Api-Key": KEY, "X-Team": "maps"}


class Made(BlockingBackend):
    """Stands where a named backend is made, and remembers what it was made with."""

    made: list[Made] = []  # noqa: RUF012  # emptied before every test

    def __init__(self, model: str, **options: Any) -> None:
        super().__init__()
        self.model, self.options = model, options
        Made.made.append(self)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Made]]:
    """Named backends become `Made` ones, of which this is the list."""
    Made.made.clear()
    monkeypatch.setattr(
        "jina_clip_integrations.encoder.backend.create_backend", lambda name, model, options: Made(model, **options)
    )
    yield Made.made
    Made.made.clear()


class TestChoosing:
    def test_name_and_options_make_the_backend(self, made: list[Made]) -> None:
        encoder = JinaClipEncoder("jina-clip-v2", batch_size=7, timeout=3)
        assert made[0].options == {"batch_size": 7, "timeout": 3}
        assert encoder.backend is made[0]
        assert len(made) == 1

    def test_unknown_backend(self) -> None:
        with pytest.raises(
            ConfigurationError,
            match="unknown backend 'cloud'; use 'api', 'local', 'onnx', 'openvino', 'sagemaker' or an",
        ):
            JinaClipEncoder(backend="cloud")

    @pytest.mark.parametrize("wrong", [None, 3, object(), BlockingBackend])
    def test_no_backend_at_all(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="embed"):
            JinaClipEncoder(backend=wrong)

    def test_an_object_without_a_model_name(self) -> None:
        with pytest.raises(ConfigurationError, match="has no `model`"):
            JinaClipEncoder(backend=BlockingBackend(model=None))

    def test_an_object_takes_no_options(self) -> None:
        with pytest.raises(ConfigurationError, match="'batch_size'"):
            JinaClipEncoder(backend=BlockingBackend(), batch_size=3)

    def test_an_object_of_another_model(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'jina-clip-v1'.*'fake'"):
            JinaClipEncoder("jina-clip-v1", backend=BlockingBackend())

    @pytest.mark.parametrize("backend", ["api", "local"])
    def test_unknown_option_names_the_nearest_and_the_known(self, backend: str) -> None:
        with pytest.raises(
            ConfigurationError, match=r"unknown option 'bach_size'.*Did you mean 'batch_size'\?.*Known: "
        ):
            JinaClipEncoder(backend=backend, bach_size=3)

    def test_option_of_the_other_backend(self) -> None:
        with pytest.raises(ConfigurationError, match='"local"'):
            JinaClipEncoder(backend="api", device="cuda")
        with pytest.raises(ConfigurationError, match='"api"'):
            JinaClipEncoder(backend="local", api_key=KEY)

    @pytest.mark.parametrize("model", ["demo", "{folder}"])
    def test_models_of_this_machine_are_not_at_the_api(self, model: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match='backend="local"'):
            JinaClipEncoder(model.format(folder=tmp_path), api_key=KEY)

    def test_sources_must_be_a_policy(self) -> None:
        with pytest.raises(ConfigurationError, match="SourcePolicy"):
            JinaClipEncoder(backend=BlockingBackend(), sources="trusted")

    def test_what_it_is(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), dimensions=4, normalize=False, exif_orientation=False)
        assert (encoder.model, encoder.dimensions, encoder.normalize) == ("fake", 4, False)
        assert encoder.exif_orientation is False
        assert encoder.spec.embed_dim == 8
        assert encoder.sources == SourcePolicy()
        assert encoder.cache is None

    def test_spec_of_an_unknown_model_is_its_width(self) -> None:
        spec = JinaClipEncoder(backend=BlockingBackend(spec=None)).spec
        assert (spec.name, spec.embed_dim, dict(spec.tasks)) == ("fake", 8, {})

    def test_spec_of_a_known_model(self) -> None:
        spec = JinaClipEncoder(backend=BlockingBackend(spec=None, dimensions=1024, model="jinaai/jina-clip-v2")).spec
        assert "retrieval.query" in spec.tasks


class TestMissingExtra:
    def test_install_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(module: str, *, extra: str, purpose: str) -> None:
            require_extra(f"no_such_{module}", extra=extra, purpose=purpose)

        monkeypatch.setattr(registry, "require_extra", missing)
        with pytest.raises(ImportError, match=r'pip install "jina-clip-integrations\[local\]"'):
            JinaClipEncoder(backend="local")


class TestClosing:
    def test_a_named_backend_is_closed_once(self, made: list[Made]) -> None:
        with JinaClipEncoder() as encoder:
            encoder.encode_text("a")
        encoder.close()
        asyncio.run(encoder.aclose())
        assert made[0].closed == 1
        for use in (lambda: encoder.encode_text("a"), lambda: encoder.backend, lambda: encoder.spec):
            with pytest.raises(BackendError, match="closed"):
                use()
        assert encoder.usage.items == 1
        assert "Encoder" in repr(encoder)

    async def test_in_async_code(self, made: list[Made]) -> None:
        async with JinaClipEncoder() as encoder:
            await encoder.aencode_text("a")
        await encoder.aclose()
        encoder.close()
        assert made[0].closed == 1

    async def test_an_awaitable_close_is_preferred(self, made: list[Made]) -> None:
        closed = []

        async def aclose() -> None:
            closed.append(1)

        encoder = JinaClipEncoder()
        made[0].aclose = aclose
        await encoder.aclose()
        assert (closed, made[0].closed) == ([1], 0)

    def test_what_was_handed_in_stays_open(self) -> None:
        backend, cache = BlockingBackend(), MemoryCache()
        cache.close = lambda: pytest.fail("closed")
        JinaClipEncoder(backend=backend, cache=cache).close()
        assert backend.closed == 0

    def test_a_cache_opened_here_is_closed(self, tmp_path: Path) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=tmp_path / "cache")
        encoder.encode_text("a")
        cache = encoder.cache
        encoder.close()
        assert isinstance(cache, DiskCache)
        assert cache._connection is None


def _used(encoder: JinaClipEncoder, used: bool) -> JinaClipEncoder:
    if used:
        encoder.encode_text(["a", None], on_error="skip")
    return encoder


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
class TestCopies:
    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
    def test_share_the_backend_and_nothing_else(self, duplicate: Any, used: bool, made: list[Made]) -> None:
        encoder = _used(JinaClipEncoder(dimensions=4, api_key=KEY, cache=MemoryCache()), used)
        twin = duplicate(encoder)
        assert twin.backend is encoder.backend
        assert len(made) == 1
        assert (twin.usage.items, twin.last_errors) == (0, {})
        np.testing.assert_allclose(twin.encode_text("b"), unit(text_vector("b")[:4]), atol=1e-6)
        assert encoder.usage.items == (1 if used else 0)

    @pytest.mark.obligation("19")
    @pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
    def test_pickles_carry_settings_and_no_secrets(
        self, dumps: Any, used: bool, made: list[Made], tmp_path: Path
    ) -> None:
        options = {"api_key": KEY, "headers": HEADERS, "http_client": threading.Lock(), "batch_size": 5}
        agent = SourcePolicy.agent(tmp_path)
        encoder = _used(JinaClipEncoder(dimensions=4, sources=agent, cache=tmp_path / "cache", **options), used)
        data = dumps(encoder)
        assert KEY.encode() not in data
        twin = pickle.loads(data)
        assert len(made) == 1  # nothing is made before it is needed
        np.testing.assert_allclose(twin.encode_text("b"), unit(text_vector("b")[:4]), atol=1e-6)
        assert made[1].options == {"batch_size": 5, "headers": {"X-Team": "maps"}}
        assert (twin.dimensions, twin.sources) == (4, agent)
        assert twin.cache.path == tmp_path / "cache"

    def test_pickles_with_a_backend_of_ones_own(self, used: bool) -> None:
        twin = pickle.loads(pickle.dumps(_used(JinaClipEncoder(backend=Plain(), cache=MemoryCache()), used)))
        np.testing.assert_allclose(twin.encode_text("b"), unit(text_vector("b")), atol=1e-6)

    def test_work_in_another_process(self, used: bool) -> None:
        encoder = _used(JinaClipEncoder(backend=Plain(), dimensions=4), used)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            rows = pool.apply(_encode, (encoder, ["x", "y"]))
        np.testing.assert_allclose(rows, encoder.encode_text(["x", "y"]), atol=1e-6)


class Plain(BlockingBackend):
    """A backend that can be pickled."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "before"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, before=lambda batch: None)


def _encode(encoder: JinaClipEncoder, texts: list[str]) -> Any:
    return encoder.encode_text(texts)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("kind", [BlockingBackend, StreamingFake])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_works_in_a_forked_child(kind: Any, tmp_path: Path) -> None:
    """Even one forked while another thread held every lock."""
    encoder = JinaClipEncoder(backend=kind(), cache=tmp_path / "cache")
    expected = encoder.encode_text(["a", "b"])
    with encoder._usage_lock, encoder._loader._lock, encoder.cache._lock:
        child = os.fork()
        if child == 0:
            try:
                same = np.array_equal(encoder.encode_text(["a", "b"]), expected)
                fresh = np.isfinite(asyncio.run(encoder.aencode_text(["c"]))).all()
                os._exit(0 if same and fresh else 1)
            finally:
                os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    encoder.encode_text(["c"])
    assert encoder.usage.cache_hits == 1  # what the child computed is in the shared file


class TestShown:
    def test_settings_that_differ(self, made: list[Made]) -> None:
        shown = repr(JinaClipEncoder("jina-clip-v1", dimensions=4, normalize=False, batch_size=9))
        assert shown == (
            "JinaClipEncoder(model='jina-clip-v1', backend='api', dimensions=4, normalize=False, batch_size=9)"
        )

    def test_no_secrets(self, made: list[Made]) -> None:
        encoder = JinaClipEncoder(api_key=KEY, token=KEY, headers={"Authorization": KEY}, base_url=f"https://u:{KEY}@h")
        assert KEY not in repr(encoder) + str(encoder) + f"{encoder!r:>9}"

    def test_an_object_by_its_class(self) -> None:
        assert "<BlockingBackend>" in repr(JinaClipEncoder(backend=BlockingBackend()))
