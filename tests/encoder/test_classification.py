"""`classify` of the encoder: every form of input, by either face, as a small independent computation has it."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ApiBackend, BackendError, ConfigurationError, ImageError, InputError, JinaClipEncoder
from jina_clip_integrations.encoder.classification import REMEMBERED
from tests.expected import of_images, of_texts
from tests.faces import both_faces
from tests.fakes import KINDS, BlockingBackend

SCALE = 20.0
LABELS = ["cat", "dog", "bird"]


def backend(**attributes: Any) -> BlockingBackend:
    return BlockingBackend(**{"logit_scale": SCALE} | attributes)


def expected(rows: Any, prompts: Sequence[Sequence[str]], scale: float = SCALE, width: int = 8) -> np.ndarray:
    """Probabilities worked out in float64, label by label."""
    shares = []
    for row in np.float64(rows)[:, :width]:
        logits = []
        for texts in prompts:
            vectors = np.float64(of_texts(texts))[:, :width]
            mean = np.mean([vector / np.linalg.norm(vector) for vector in vectors], axis=0)
            logits.append(scale * row @ mean / np.linalg.norm(mean) / np.linalg.norm(row))
        powers = np.exp(logits)
        shares.append(powers / powers.sum())
    return np.array(shares)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    files = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, file in enumerate(files):
        Image.new("RGB", (4, 4), (number * 40, 10, 200)).save(file)
    return files


PHOTOS = [[f"a photo of a {label}."] for label in LABELS]


@both_faces
@pytest.mark.parametrize("kind", KINDS)
def test_images_by_every_kind_of_backend(kind: str, face: Any, paths: list[str]) -> None:
    encoder = JinaClipEncoder(backend=KINDS[kind](logit_scale=SCALE))
    result = face(encoder).classify(paths, LABELS)
    np.testing.assert_allclose(result.probabilities, expected(of_images(paths), PHOTOS), atol=1e-6)
    assert (result.labels, result.logit_scale) == (tuple(LABELS), SCALE)
    assert result.probabilities.dtype == np.float32
    assert result.predicted == [LABELS[row.argmax()] for row in result.probabilities]


@both_faces
class TestInputs:
    def test_every_form_of_image(self, face: Any, paths: list[str]) -> None:
        one = Image.open(paths[0]).convert("RGB")
        forms = [paths[0], Path(paths[0]), Path(paths[0]).read_bytes(), one, np.asarray(one), {"image": paths[0]}]
        encoder = JinaClipEncoder(backend=backend())
        result = face(encoder).classify(forms, LABELS)
        np.testing.assert_allclose(result.probabilities, expected(of_images(paths[:1] * 6), PHOTOS), atol=1e-6)
        for form in forms:
            alone = face(encoder).classify(form, LABELS)
            np.testing.assert_allclose(alone.probabilities, result.probabilities[:1], atol=1e-6)

    def test_texts_among_images_and_images_among_texts(self, face: Any, paths: list[str]) -> None:
        encoder = JinaClipEncoder(backend=backend())
        rows = np.concatenate([of_texts(["a text"]), of_images(paths[:1])])
        mixed = face(encoder).classify([{"text": "a text"}, paths[0]], LABELS)
        np.testing.assert_allclose(mixed.probabilities, expected(rows, PHOTOS), atol=1e-6)
        mixed = face(encoder).classify(["a text", {"image": paths[0]}], LABELS, modality="text")
        np.testing.assert_allclose(mixed.probabilities, expected(rows, [[label] for label in LABELS]), atol=1e-6)

    def test_a_text_that_looks_like_a_file_is_not_opened(self, face: Any, paths: list[str]) -> None:
        result = face(JinaClipEncoder(backend=backend())).classify(paths[0], LABELS, modality="text")
        rows = expected(of_texts([paths[0]]), [[label] for label in LABELS])
        np.testing.assert_allclose(result.probabilities, rows, atol=1e-6)

    def test_ensembles_and_prompts_of_ones_own(self, face: Any, paths: list[str]) -> None:
        encoder = JinaClipEncoder(backend=backend())
        result = face(encoder).classify(paths, LABELS, templates=["{}", "ein Bild: {}"])
        ensembles = [[label, f"ein Bild: {label}"] for label in LABELS]
        np.testing.assert_allclose(result.probabilities, expected(of_images(paths), ensembles), atol=1e-6)
        own = {"pet": ["cat", "dog"], "bird": "a bird"}
        result = face(encoder).classify(paths, own)
        prompts = [["cat", "dog"], ["a bird"]]
        np.testing.assert_allclose(result.probabilities, expected(of_images(paths), prompts), atol=1e-6)

    def test_nothing(self, face: Any) -> None:
        assert face(JinaClipEncoder(backend=backend())).classify([], LABELS).probabilities.shape == (0, 3)

    def test_vectors_that_are_there_already(self, face: Any, paths: list[str]) -> None:
        encoder = JinaClipEncoder(backend=backend())
        classifier = encoder.classifier(LABELS)
        result = face(classifier).classify_vectors(encoder.encode_image(paths))
        np.testing.assert_allclose(result.probabilities, expected(of_images(paths), PHOTOS), atol=1e-6)

    def test_truncated_and_raw_vectors(self, face: Any, paths: list[str]) -> None:
        for width in (4, 8):
            encoder = JinaClipEncoder(backend=backend(), dimensions=width, normalize=False)
            rows = expected(of_images(paths), PHOTOS, width=width)
            np.testing.assert_allclose(face(encoder).classify(paths, LABELS).probabilities, rows, atol=1e-6)


@both_faces
class TestBadInputs:
    def test_skipped_rows_are_nan_and_reported(self, face: Any, paths: list[str]) -> None:
        encoder = JinaClipEncoder(backend=backend())
        result = face(encoder).classify([paths[0], "nowhere.png", 3], LABELS, on_error="skip")
        assert result.predicted[1:] == [None, None]
        assert np.isnan(result.probabilities[1:]).all()
        np.testing.assert_allclose(result.probabilities[:1], expected(of_images(paths[:1]), PHOTOS), atol=1e-6)
        assert sorted(encoder.last_errors) == [1, 2]

    def test_a_bad_image_is_named_and_what_was_finished_is_kept(self, face: Any, paths: list[str]) -> None:
        encoder = JinaClipEncoder(backend=backend(batch_size=1))
        with pytest.raises(ImageError, match="input 2: ") as caught:
            face(encoder).classify([{"text": "a"}, paths[0], "nowhere.png"], LABELS)
        kept = encoder.classifier(LABELS).classify_vectors(caught.value.partial)
        assert kept.predicted[0] is not None
        assert kept.predicted[2] is None

    def test_an_input_that_stood_alone_has_no_index(self, face: Any) -> None:
        with pytest.raises(ImageError, match=r"^nowhere\.png") as caught:
            face(JinaClipEncoder(backend=backend())).classify("nowhere.png", LABELS)
        assert caught.value.index is None

    @pytest.mark.parametrize(
        ("inputs", "options"),
        [(None, {}), (3, {"modality": "text"}), ({"sound": "x"}, {}), ([3], {"modality": "text"})],
    )
    def test_what_is_neither(self, face: Any, inputs: Any, options: Any) -> None:
        with pytest.raises(InputError):
            face(JinaClipEncoder(backend=backend())).classify(inputs, LABELS, **options)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"on_error": "ignore"}, "on_error"),
            ({"modality": "sound"}, "modality"),
            ({"templates": "a photo"}, "where the label goes"),
            ({"labels": ["cat"]}, "only one label"),
            ({"logit_scale": 0}, "must be a positive number, not 0"),
            ({"logit_scale": -3.0}, "must be a positive number"),
            ({"logit_scale": float("nan")}, "must be a positive number"),
            ({"logit_scale": "big"}, "must be a positive number, not 'big'"),
            ({"logit_scale": True}, "must be a positive number"),
        ],
    )
    def test_bad_arguments_cost_nothing(self, face: Any, paths: list[str], options: Any, said: str) -> None:
        fake = backend()
        with pytest.raises(ConfigurationError, match=said):
            face(JinaClipEncoder(backend=fake)).classify(paths, **{"labels": LABELS} | options)
        assert fake.batches == []


class TestLogitScale:
    def test_a_backend_that_does_not_know_it_says_what_to_pass(self) -> None:
        for unknown in (BlockingBackend(), BlockingBackend(logit_scale=None)):
            with pytest.raises(ConfigurationError, match=r"logit scale of fake.*pass logit_scale=") as caught:
                JinaClipEncoder(backend=unknown).classify([{"text": "a"}], LABELS)
            assert "LocalBackend(model).logit_scale" in str(caught.value)
            assert unknown.batches == []

    def test_the_hosted_models_do_not_tell_theirs(self) -> None:
        for model in ("jina-clip-v1", "jina-clip-v2"):
            encoder = JinaClipEncoder(backend=ApiBackend(model, api_key="jina_0123456789abcdef"))
            with pytest.raises(ConfigurationError, match=f"logit scale of {model}, and ApiBackend cannot tell it"):
                encoder.classifier(LABELS)
            assert encoder.classifier(LABELS, logit_scale=50).logit_scale == 50

    def test_an_argument_takes_precedence(self) -> None:
        encoder = JinaClipEncoder(backend=backend())
        result = encoder.classify([{"text": "a"}], LABELS, logit_scale=np.float32(50))
        np.testing.assert_allclose(result.probabilities, expected(of_texts(["a"]), PHOTOS, scale=50), atol=1e-6)

    def test_its_logarithm_is_noticed(self) -> None:
        with pytest.warns(UserWarning, match=r"pass math\.exp\(2\.6592\) if it is that"):
            JinaClipEncoder(backend=backend()).classifier(LABELS, logit_scale=2.6592)

    @pytest.mark.parametrize("told", [0, -1.0, "many", float("inf")])
    def test_a_backend_that_tells_nonsense_is_refused(self, told: Any) -> None:
        fake = backend(logit_scale=told)
        with pytest.raises(ConfigurationError, match="must be a positive number"):
            JinaClipEncoder(backend=fake).classify([{"text": "a"}], LABELS)
        assert fake.batches == []

    def test_packed_bits_have_no_cosines(self) -> None:
        with pytest.raises(ConfigurationError, match="packed bits"):
            JinaClipEncoder(backend=backend(embedding_type="binary")).classifier(LABELS)


@both_faces
class TestLabelsAreEmbeddedOnce:
    def test_by_a_classifier(self, face: Any, paths: list[str]) -> None:
        fake = backend()
        classifier = JinaClipEncoder(backend=fake).classifier(LABELS)
        assert fake.batches == []  # nothing is paid for before there is something to classify
        for path in paths:
            face(classifier).classify(path)
        assert [batch.modality for batch in fake.batches] == ["text", "image", "image", "image"]

    def test_by_calls_in_a_loop(self, face: Any, paths: list[str]) -> None:
        fake = backend()
        encoder = JinaClipEncoder(backend=fake)
        for path in paths:
            face(encoder).classify(path, LABELS)
        assert [batch.modality for batch in fake.batches] == ["text", "image", "image", "image"]
        sets = [[f"{number} a", f"{number} b"] for number in range(REMEMBERED)]
        for labels in [*sets, LABELS]:  # the first one is forgotten by now
            face(encoder).classify({"text": "x"}, labels)
        assert [batch.texts[0] for batch in fake.batches[4::2]] == [f"a photo of a {n} a." for n in range(4)] + PHOTOS[
            0
        ]

    def test_by_the_cache_of_the_encoder(self, face: Any, paths: list[str], tmp_path: Path) -> None:
        fake = backend()
        for _ in range(2):
            face(JinaClipEncoder(backend=fake, cache=tmp_path / "cache")).classify(paths, LABELS)
        assert [len(batch) for batch in fake.batches] == [3, 3]


def test_a_classifier_tells_what_it_compares() -> None:
    classifier = JinaClipEncoder(backend=backend()).classifier(LABELS, templates=["{}", "one {}"])
    assert classifier.labels == tuple(LABELS)
    assert classifier.prompts["dog"] == ("dog", "one dog")
    assert (classifier.logit_scale, classifier.modality) == (SCALE, "image")
    assert repr(classifier) == "ZeroShotClassifier(3 labels, 6 prompts)"


def test_a_closed_encoder_classifies_no_more() -> None:
    encoder = JinaClipEncoder(backend=backend())
    classifier = encoder.classifier(LABELS)
    encoder.close()
    for classify in (classifier.classify, lambda item: encoder.classify(item, LABELS)):
        with pytest.raises(BackendError, match="closed"):
            classify({"text": "a"})


@pytest.mark.parametrize("way", [copy.copy, lambda encoder: pickle.loads(pickle.dumps(encoder))])
def test_copies_classify_too(way: Any) -> None:
    encoder = JinaClipEncoder("demo", "local")
    before = encoder.classify({"text": "cat"}, LABELS)
    after = way(encoder).classify({"text": "cat"}, LABELS)
    np.testing.assert_array_equal(after.probabilities, before.probabilities)


def test_no_warning_of_a_checkpoints_own_scale() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        JinaClipEncoder(backend=backend(logit_scale=3.0)).classify({"text": "a"}, LABELS)
