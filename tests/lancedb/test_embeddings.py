"""LanceDB's registry in a real database: columns, order, metadata, secrets, and its repetition of calls."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector
from PIL import Image

from jina_clip_integrations import ConfigurationError, ImageError
from jina_clip_integrations.lancedb import JinaClipEmbeddings
from tests.fakes import content_vector, text_vector, unit

KEY = "jina_0123456789abcdef"
DEMO = {"model": "demo", "backend": "local"}


def opened(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def row_of_image(path: str) -> np.ndarray:
    image = opened(path)
    return unit(content_vector(b"image/%d/%d/" % image.size + image.tobytes()))


def row_of_text(text: str, task: str | None = None) -> np.ndarray:
    return unit(text_vector(text, task))


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seconds: float) -> None:
        raise AssertionError(f"waits {seconds} s")

    monkeypatch.setattr(time, "sleep", refuse)


@pytest.fixture
def table(database: Any, variable: str) -> Any:
    """Images and their titles, each with a vector column of its own."""
    registry = get_registry()
    images = registry.get("jina-clip").create(backend=variable)
    titles = registry.get("jina-clip").create(backend=variable, source="text")

    class Photo(LanceModel):
        uri: str = images.SourceField()
        title: str = titles.SourceField()
        vector: Vector(images.ndims()) = images.VectorField()  # type: ignore[valid-type]
        words: list[float] = titles.VectorField()

    return database.create_table("photos", schema=Photo)


def add(table: Any, uris: list[str]) -> None:
    table.add([{"uri": uri, "title": Path(uri).stem} for uri in uris])


def test_both_names_lead_to_it() -> None:
    for name in ("jina-clip", "jina_clip_integrations.lancedb"):
        assert get_registry().get(name) is JinaClipEmbeddings


def test_columns_of_images_and_texts_keep_their_order(table: Any, images: list[str]) -> None:
    order = [images[2], images[0], images[1], images[0]]
    add(table, order)
    for row, uri in zip(table.to_arrow().to_pylist(), order, strict=True):
        assert row["uri"] == uri
        np.testing.assert_allclose(row["vector"], row_of_image(uri), atol=1e-6)
        np.testing.assert_allclose(row["words"], row_of_text(Path(uri).stem), atol=1e-6)


def test_queries_are_words_or_images(table: Any, backend: Any, images: list[str]) -> None:
    add(table, images)
    for query in (Path(images[1]), opened(images[1]), Path(images[1]).read_bytes()):
        [hit] = table.search(query, vector_column_name="vector").limit(1).to_list()
        assert hit["uri"] == images[1]
    table.search("green", vector_column_name="words").limit(1).to_list()
    assert (backend.batches[-1].texts, backend.batches[-1].task) == (["green"], "retrieval.query")


@pytest.mark.parametrize("column", ["bytes", "list", "array", "chunked"])
def test_source_values(variable: str, images: list[str], column: str) -> None:
    function = JinaClipEmbeddings.create(backend=variable)
    data = [Path(images[0]).read_bytes(), None, Path(images[1]).read_bytes()]
    values: Any = {
        "bytes": data[0],
        "list": [opened(images[0]), None, io.BytesIO(data[2])],
        "array": pa.array(data),
        "chunked": pa.chunked_array([data[:1], data[1:]]),
    }[column]
    rows = function.compute_source_embeddings(values)
    expected = [row_of_image(images[0]), None, row_of_image(images[1])][: len(rows)]
    assert [row is None for row in rows] == [row is None for row in expected]
    for row, right in zip(rows, expected, strict=True):
        assert row is None or np.allclose(row, right, atol=1e-6)
    assert function.compute_source_embeddings(pa.nulls(2, pa.string())) == [None, None]


@pytest.mark.usefixtures("no_sleep")
def test_a_bad_file_is_said_at_once(table: Any, variable: str, images: list[str], tmp_path: Path) -> None:
    """LanceDB repeats any failure seven times, after 2, 4, … 128 s and more."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(Exception, match=r"broken\.jpg") as raised:  # LanceDB's own type, with our message in it
        add(table, [images[0], str(broken)])
    assert "Maximum number of retries" not in str(raised.value)
    assert table.count_rows() == 0
    function = JinaClipEmbeddings.create(backend=variable)
    with pytest.raises(ImageError) as caught:
        function.compute_source_embeddings_with_retry([None, images[0], str(broken)])
    assert caught.value.index == 2
    with pytest.raises(ImageError):
        table.search(Path("missing.png"), vector_column_name="vector")


def test_the_table_keeps_model_and_width_and_loads_the_model_once(database: Any) -> None:
    function = JinaClipEmbeddings.create(**DEMO, source="text", dimensions=64)

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # type: ignore[valid-type]

    table = database.create_table("notes", schema=Note)
    table.add([{"text": "a cat"}, {"text": "a grinning face"}])
    [entry] = json.loads(table.schema.metadata[b"embedding_functions"])
    assert (entry["name"], entry["model"]["model"], entry["model"]["dimensions"]) == (
        "jina_clip_integrations.lancedb",
        "demo",
        64,
    )
    first, second = (database.open_table("notes").embedding_functions["vector"].function for _ in range(2))
    assert first is not second
    assert first == second == function
    assert hash(first) == hash(second)
    assert first.encoder.backend is second.encoder.backend is function.encoder.backend


def test_a_new_process_needs_the_import(database: Any, tmp_path: Path) -> None:
    function = JinaClipEmbeddings.create(**DEMO, source="text")

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # type: ignore[valid-type]

    database.create_table("notes", schema=Note).add([{"text": "a cat"}, {"text": "a grinning face"}])
    code = (
        "import sys, lancedb; table = lancedb.connect(sys.argv[1]).open_table('notes');"
        "table.add([{'text': 'a dog'}]); print(table.search('a cat').limit(1).to_list()[0]['text'])"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", prefix + code, str(tmp_path / "lancedb")],
            capture_output=True,
            text=True,
            check=False,
        )
        for prefix in ("", "import jina_clip_integrations.lancedb;")
    ]
    assert "KeyError: 'jina_clip_integrations.lancedb'" in done[0].stderr  # the error names what to import
    assert done[1].stdout.strip() == "a cat", done[1].stderr


# Secrets and objects


def test_no_key_is_kept(database: Any, tmp_path: Path) -> None:
    get_registry().set_var("key", KEY)
    function = JinaClipEmbeddings.create(model="jina-clip-v2", api_key="$var:key", source="text")

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # type: ignore[valid-type]

    table = database.create_table("notes", schema=Note)
    assert KEY not in repr(function) + str(table.schema.metadata)
    assert table.embedding_functions["vector"].function.encoder.backend._key.reveal() == KEY
    for path in (tmp_path / "lancedb").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", KEY),
        ("headers", {"Authorization": KEY}),
        ("token", KEY),
        ("cache", "vectors"),
        ("http_client", object()),
        ("backend", object()),
    ],
)
def test_what_a_table_cannot_keep_is_given_as_a_variable(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"create\({name}=\"\$var:{name}\"\)") as caught:
        JinaClipEmbeddings.create(**{"model": "jina-clip-v2", name: value})
    assert KEY not in str(caught.value)


def test_variables() -> None:
    with pytest.raises(ConfigurationError, match="no variable 'unset'"):
        JinaClipEmbeddings.create(model="jina-clip-v2", api_key="$var:unset")
    assert JinaClipEmbeddings.create(model="jina-clip-v2", dialect="$var:unset:infinity").dialect == "infinity"
    with pytest.raises(ConfigurationError, match="Did you mean 'dimensions'"):
        JinaClipEmbeddings.create(model="demo", backend="local", dimension=3)


def test_no_key_of_the_environment_goes_where_a_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    function = JinaClipEmbeddings.create(model="jina-clip-v2", base_url="https://elsewhere.example/v1")
    assert function.encoder.backend._key.reveal() is None
    assert JinaClipEmbeddings.create(model="jina-clip-v2").encoder.backend._key.reveal() == KEY


def test_a_width_that_only_a_server_knows() -> None:
    served = {"model": "mine", "base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(ConfigurationError, match="give dimensions"):
        JinaClipEmbeddings.create(**served).ndims()
    assert JinaClipEmbeddings.create(**served, dimensions=32).ndims() == 32


@pytest.mark.parametrize(
    "replicate",
    [copy.copy, copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))],
    ids=["copy", "deep", "pickle"],
)
def test_copies_and_pickles(variable: str, replicate: Any) -> None:
    for function in (JinaClipEmbeddings.create(backend=variable, source="text"), JinaClipEmbeddings.create(**DEMO)):
        replica = replicate(function)
        assert replica == function
        assert replica.safe_model_dump() == function.safe_model_dump()
        np.testing.assert_array_equal(replica.compute_query_embeddings("a"), function.compute_query_embeddings("a"))
