"""Chroma's embedding function in a real store: order, configuration, secrets, and what Chroma does not notice."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromadb.api.types import EmbeddingFunction
from chromadb.utils.embedding_functions import known_embedding_functions
from PIL import Image

from jina_clip_integrations import ConfigurationError, ImageError, InputError, SourcePolicy
from jina_clip_integrations.chroma import ImageLoader, JinaClipEmbeddingFunction, open_collection
from tests.fakes import content_vector, text_vector, unit

KEY = "jina_0123456789abcdef"
DEMO = {"model": "demo", "backend": "local"}


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def row_of_image(path: str) -> np.ndarray:
    array = pixels(path)
    return unit(content_vector(b"image/%d/%d/" % (array.shape[1], array.shape[0]) + array.tobytes()))


def row_of_text(text: str, task: str | None = None) -> np.ndarray:
    return unit(text_vector(text, task))


def test_it_is_an_embedding_function_and_registered_under_its_own_name() -> None:
    function = JinaClipEmbeddingFunction(model="jina-clip-v2")
    assert isinstance(function, EmbeddingFunction)
    assert known_embedding_functions["jina_clip"] is JinaClipEmbeddingFunction
    assert known_embedding_functions["jina"] is not JinaClipEmbeddingFunction
    assert (function.name(), function.default_space(), function.is_legacy()) == ("jina_clip", "cosine", False)


@pytest.mark.parametrize(("normalize", "spaces"), [(True, ["cosine", "l2", "ip"]), (False, ["cosine"])])
def test_spaces(normalize: bool, spaces: list[str]) -> None:
    assert JinaClipEmbeddingFunction(**DEMO, normalize=normalize).supported_spaces() == spaces


def test_texts_and_images_in_one_call_keep_their_order(backend: Any, images: list[str]) -> None:
    function = JinaClipEmbeddingFunction(backend=backend)
    given = ["a", pixels(images[0]), "b", pixels(images[1]), pixels(images[0]), "a"]
    for embed, task in ((function, None), (function.embed_query, "retrieval.query")):
        rows = embed(given)
        expected = [
            row_of_text(one, task) if isinstance(one, str) else row_of_image(images[one is given[3]]) for one in given
        ]
        np.testing.assert_allclose(rows, expected, atol=1e-6)
        assert all(row.dtype == np.float32 for row in rows)
    np.testing.assert_array_equal(function.embed_with_retries(["a"]), function(["a"]))


def test_query_task_can_be_turned_off(backend: Any) -> None:
    function = JinaClipEmbeddingFunction(backend=backend, query_task=None)
    np.testing.assert_array_equal(function.embed_query(["a"]), function(["a"]))


@pytest.mark.parametrize("given", ["one", 5, b"bytes"])
def test_one_item_in_place_of_the_list(backend: Any, given: Any) -> None:
    with pytest.raises(InputError):
        JinaClipEmbeddingFunction(backend=backend)(given)


def test_a_bad_image_is_named_by_its_place(backend: Any, images: list[str]) -> None:
    function = JinaClipEmbeddingFunction(backend=backend)
    for embed in (function, function.embed_query):
        with pytest.raises(ImageError) as caught:
            embed(["a", pixels(images[0]), "b", np.zeros((4, 4), np.float32)])
        assert caught.value.index == 3


# In the store


def test_documents_images_and_uris(client: Any, backend: Any, images: list[str], tmp_path: Path) -> None:
    function = JinaClipEmbeddingFunction(backend=backend)
    collection = open_collection(client, "mixed", function, sources=SourcePolicy.agent(roots=tmp_path))
    assert collection.configuration_json["hnsw"]["space"] == "cosine"
    collection.add(ids=["t0", "t1"], documents=["one", "two"])
    collection.add(ids=["i0"], images=[pixels(images[0])])
    collection.add(ids=["u2", "u1"], uris=[images[2], images[1]])
    held = collection.get(include=["embeddings", "uris"])
    rows = dict(zip(held["ids"], held["embeddings"], strict=True))
    expected = {"t0": row_of_text("one"), "t1": row_of_text("two")}
    expected |= {"i0": row_of_image(images[0]), "u1": row_of_image(images[1]), "u2": row_of_image(images[2])}
    assert rows.keys() == expected.keys()
    for name, row in expected.items():
        np.testing.assert_allclose(rows[name], row, atol=1e-6)
    assert collection.query(query_images=[pixels(images[0])], n_results=1)["ids"] == [["i0"]]
    found = collection.query(query_uris=[images[1]], n_results=1, include=["data", "uris"])
    assert found["ids"] == [["u1"]]
    np.testing.assert_array_equal(found["data"][0][0], pixels(images[1]))
    collection.query(query_texts=["one"])
    assert backend.batches[-1].task == "retrieval.query"


def test_an_error_keeps_its_type_and_its_place(client: Any, backend: Any, images: list[str], tmp_path: Path) -> None:
    function = JinaClipEmbeddingFunction(backend=backend)
    collection = open_collection(client, "broken", function, sources=SourcePolicy.agent(roots=tmp_path))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.jpg") as caught:
        collection.add(ids=["a", "b"], uris=[images[0], str(tmp_path / "broken.jpg")])
    assert caught.value.index == 1
    assert collection.count() == 0


def test_the_collection_brings_its_function(client: Any) -> None:
    """The function that Chroma builds from its own configuration gives the same vectors, and loads the model once."""
    function = JinaClipEmbeddingFunction(**DEMO, dimensions=64, batch_size=4)
    open_collection(client, "photos", function).add(ids=["a", "b"], documents=["a grinning face", "a cat"])
    bare = client.get_collection("photos")
    assert bare.query(query_texts=["a cat"], n_results=1)["ids"] == [["b"]]
    rebuilt = [JinaClipEmbeddingFunction.build_from_config(function.get_config()) for _ in range(2)]
    assert rebuilt[0].get_config() == function.get_config()
    np.testing.assert_array_equal(rebuilt[0](["x"]), function(["x"]))
    assert rebuilt[0].encoder.backend is rebuilt[1].encoder.backend
    assert open_collection(client, "photos").query(query_texts=["a cat"], n_results=1)["ids"] == [["b"]]


def test_a_new_process_needs_the_import(client: Any, tmp_path: Path) -> None:
    open_collection(client, "photos", JinaClipEmbeddingFunction(**DEMO)).add(ids=["a"], documents=["a cat"])
    code = (
        "import sys, chromadb; client = chromadb.PersistentClient(sys.argv[1]);"
        "print(client.get_collection('photos').query(query_texts=['a dog'])['ids'])"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", prefix + code, str(tmp_path / "chroma")], capture_output=True, text=True, check=False
        )
        for prefix in ("", "import jina_clip_integrations.chroma;")
    ]
    assert "jina_clip not found" in done[0].stderr
    assert done[1].stdout.strip() == "[['a']]", done[1].stderr


def test_another_width_or_model_is_noticed_before_anything_is_embedded(client: Any) -> None:
    open_collection(client, "photos", JinaClipEmbeddingFunction(**DEMO))
    for other in ({**DEMO, "dimensions": 64}, {**DEMO, "normalize": False}, {**DEMO, "background": "white"}):
        with pytest.raises(ConfigurationError, match="collection 'photos' holds vectors of"):
            open_collection(client, "photos", JinaClipEmbeddingFunction(**other))
    with pytest.raises(ConfigurationError, match="jina-clip-v2"):
        open_collection(client, "photos", JinaClipEmbeddingFunction(model="jina-clip-v2"))
    open_collection(client, "photos", JinaClipEmbeddingFunction(**DEMO, batch_size=2))  # changes no vector


def test_a_model_whose_width_only_its_server_knows(client: Any) -> None:
    server = {"base_url": "http://127.0.0.1:9/v1"}
    open_collection(client, "served", JinaClipEmbeddingFunction(model="mine", **server))
    open_collection(client, "served", JinaClipEmbeddingFunction(model="mine", **server))
    with pytest.raises(ConfigurationError, match="model='mine'"):
        open_collection(client, "served", JinaClipEmbeddingFunction(model="other", **server))


def test_a_configuration_is_updated_only_if_vectors_stay_comparable(client: Any) -> None:
    collection = open_collection(client, "photos", JinaClipEmbeddingFunction(**DEMO))
    collection.modify(configuration={"embedding_function": JinaClipEmbeddingFunction(**DEMO, batch_size=2)})
    with pytest.raises(ConfigurationError, match="cannot be compared"):
        JinaClipEmbeddingFunction(**DEMO).validate_config_update(
            JinaClipEmbeddingFunction(**DEMO).get_config(),
            JinaClipEmbeddingFunction(**DEMO, dimensions=64).get_config(),
        )


def test_collections_of_others(client: Any) -> None:
    ours = JinaClipEmbeddingFunction(**DEMO)
    fingerprint = ours.fingerprint.to_metadata()
    client.create_collection("marked", metadata=fingerprint, embedding_function=None)
    open_collection(client, "marked", ours)
    client.create_collection("unmarked", embedding_function=None)
    with pytest.raises(ConfigurationError, match="does not say which model"):
        open_collection(client, "unmarked", ours)
    with pytest.raises(ConfigurationError, match="no embedding function"):
        open_collection(client, "unmarked")
    with pytest.raises(ConfigurationError, match="there is no collection 'missing'"):
        open_collection(client, "missing")


# Secrets, and what a stranger's configuration may say


def test_no_key_is_kept(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    headers = {"Authorization": f"Bearer {KEY}", "X-Team": "images"}
    for number, options in enumerate(({"api_key": KEY}, {"api_key_env_var": "MY_KEY"}, {"headers": headers})):
        function = JinaClipEmbeddingFunction(model="jina-clip-v2", cache=tmp_path / "cache", **options)
        open_collection(client, f"photos-{number}", function)
        config = json.dumps(function.get_config())
        assert KEY not in config + repr(function)
        assert "cache" not in config
    assert "MY_KEY" in json.dumps(client.get_collection("photos-1").configuration_json)
    for path in (tmp_path / "chroma").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_the_key_is_read_from_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    function = JinaClipEmbeddingFunction(model="jina-clip-v2", api_key_env_var="MY_KEY")
    rebuilt = JinaClipEmbeddingFunction.build_from_config(function.get_config())
    for one in (function, rebuilt):
        with pytest.raises(ConfigurationError, match="MY_KEY holds no key"):
            one(["a"])
    monkeypatch.setenv("MY_KEY", KEY)
    assert function.encoder.backend._key.reveal() == KEY
    again = JinaClipEmbeddingFunction.build_from_config(function.get_config())
    assert again.encoder.backend._key.reveal() == KEY


def test_no_key_of_the_environment_goes_where_a_store_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    config = {"model": "jina-clip-v2", "backend": "api", "base_url": "https://elsewhere.example/v1"}
    rebuilt = JinaClipEmbeddingFunction.build_from_config(config)
    assert rebuilt.encoder.backend._key.reveal() is None
    assert pickle.loads(pickle.dumps(rebuilt)).encoder.backend._key.reveal() is None
    hosted = JinaClipEmbeddingFunction.build_from_config({"model": "jina-clip-v2", "backend": "api"})
    assert hosted.encoder.backend._key.reveal() == KEY
    with pytest.raises(ConfigurationError, match="no key from the environment goes there"):
        JinaClipEmbeddingFunction.build_from_config({**config, "api_key_env_var": "JINA_API_KEY"})(["a"])


@pytest.mark.parametrize("name", ["api_key", "headers", "token", "sources", "cache", "cache_dir", "http_client"])
def test_a_configuration_has_no_say_over_keys_and_files(name: str) -> None:
    for check in (JinaClipEmbeddingFunction.validate_config, JinaClipEmbeddingFunction.build_from_config):
        with pytest.raises(ConfigurationError, match=name):
            check({"model": "demo", "backend": "local", name: "x"})
    with pytest.raises(ConfigurationError, match="names no model"):
        JinaClipEmbeddingFunction.validate_config({})


def test_a_checkpoint_that_changed_is_noticed_at_first_use() -> None:
    config = JinaClipEmbeddingFunction(**DEMO).get_config()
    config["vectors"]["jina_clip_model"] = "sha256:" + "0" * 32
    with pytest.raises(ConfigurationError, match="cannot be compared"):
        JinaClipEmbeddingFunction.build_from_config(config)(["a"])


def test_a_backend_object_has_to_be_passed_again(client: Any, backend: Any) -> None:
    function = JinaClipEmbeddingFunction(backend=backend)
    open_collection(client, "photos", function).add(ids=["a"], documents=["one"])
    with pytest.raises(Exception, match="BlockingBackend"):
        client.get_collection("photos").query(query_texts=["one"])
    again = open_collection(client, "photos", JinaClipEmbeddingFunction(backend=backend))
    assert again.query(query_texts=["one"])["ids"] == [["a"]]


@pytest.mark.parametrize("replicate", [copy.copy, copy.deepcopy])
def test_copies(backend: Any, replicate: Any) -> None:
    function = JinaClipEmbeddingFunction(backend=backend)
    replica = replicate(function)
    assert replica == function
    np.testing.assert_array_equal(replica(["a"]), function(["a"]))


def test_pickles_and_later_assignments() -> None:
    rebuilt = JinaClipEmbeddingFunction.build_from_config(JinaClipEmbeddingFunction(**DEMO).get_config())
    replica = pickle.loads(pickle.dumps(rebuilt))
    np.testing.assert_array_equal(replica(["a"]), rebuilt(["a"]))
    replica.query_task = None
    assert rebuilt.query_task == "auto"
    np.testing.assert_array_equal(replica(["a"]), rebuilt(["a"]))


def test_a_quick_look_is_kept_by_the_store_and_not_mixed(images: list[str]) -> None:
    quick = JinaClipEmbeddingFunction(**DEMO, image_size=48)
    config = json.loads(json.dumps(quick.get_config()))
    assert (config["image_size"], config["vectors"]["jina_clip_image_size"]) == (48, 48)
    rebuilt = JinaClipEmbeddingFunction.build_from_config(config)
    np.testing.assert_array_equal(rebuilt([pixels(images[0])]), quick([pixels(images[0])]))
    other = JinaClipEmbeddingFunction.build_from_config({**config, "image_size": 56})
    with pytest.raises(ConfigurationError, match="images of 48 pixels"):
        other(["a"])


# The loader


def test_the_loader_opens_what_its_policy_allows(images: list[str], tmp_path: Path) -> None:
    for loader in (ImageLoader(), ImageLoader(SourcePolicy.agent(roots=tmp_path / "elsewhere"))):
        with pytest.raises(ImageError) as caught:
            list(loader([images[0]]))
        assert caught.value.index == 0
    loaded = ImageLoader(SourcePolicy.agent(roots=tmp_path))([images[1], None, images[0]])
    assert (len(loaded), loaded[1]) == (3, None)
    np.testing.assert_array_equal(loaded[-1], pixels(images[0]))
    np.testing.assert_array_equal(loaded[1:][1], pixels(images[0]))


def test_the_function_reads_under_the_loaders_policy(backend: Any, images: list[str]) -> None:
    with pytest.raises(ImageError):
        JinaClipEmbeddingFunction(backend=backend)(ImageLoader()([images[0]]))
