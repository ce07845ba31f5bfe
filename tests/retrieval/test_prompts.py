"""From labels to prompts, and what cannot be a label or a template."""

from __future__ import annotations

from typing import Any

import pytest

from jina_clip_integrations.errors import ConfigurationError, InputError
from jina_clip_integrations.retrieval.prompts import make_prompts


def prompts(labels: Any, templates: Any = None, modality: Any = "image") -> dict[str, tuple[str, ...]]:
    made = make_prompts(labels, templates, modality)
    assert [prompt for own in made.prompts for prompt in own] == made.texts
    assert [len(own) for own in made.prompts] == made.counts
    return dict(zip(made.labels, made.prompts, strict=True))


@pytest.mark.parametrize(
    ("labels", "templates", "expected"),
    [
        (["cat", "dog"], None, {"cat": ("a photo of a cat.",), "dog": ("a photo of a dog.",)}),
        (["Katze", "犬"], "ein Bild: {}", {"Katze": ("ein Bild: Katze",), "犬": ("ein Bild: 犬",)}),
        (["cat", "dog"], ["{label}", "one {}"], {"cat": ("cat", "one cat"), "dog": ("dog", "one dog")}),
        (["a", "b"], "{label} and {label} {{}}", {"a": ("a and a {}",), "b": ("b and b {}",)}),
        (["{}", "{label}"], "<{}>", {"{}": ("<{}>",), "{label}": ("<{label}>",)}),
        ({"pet": ["cat", "dog"], "tool": "a saw"}, None, {"pet": ("cat", "dog"), "tool": ("a saw",)}),
        ({"pet": ["cat", "dog"], "tool": "saw"}, "a {}", {"pet": ("a cat", "a dog"), "tool": ("a saw",)}),
        (["a", "b"], [str.upper, "{}"], {"a": ("A", "a"), "b": ("B", "b")}),
        ((label for label in "ab"), "{}", {"a": ("a",), "b": ("b",)}),
    ],
)
def test_every_template_with_every_name(labels: Any, templates: Any, expected: Any) -> None:
    assert prompts(labels, templates) == expected


def test_texts_are_compared_with_bare_labels() -> None:
    assert prompts(["sport", "science"], modality="text") == {"sport": ("sport",), "science": ("science",)}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "no labels"),
        ({}, "no labels"),
        (["cat"], "only one label, 'cat'"),
        ("cat,dog", "must be a list of texts or a mapping, not one str"),
        (None, "not one NoneType"),
        ({"cat", "dog"}, "a set has no order"),
        (["cat", "dog", "cat"], "'cat' is there twice"),
        (["cat", "dog", " cat"], "' cat' is there twice"),
        (["caf\u00e9", "cafe\u0301"], "is there twice"),
        (["cat", ""], "a label is blank"),
        (["cat", 3], "a label must be a str, not int"),
        ({"cat": [], "dog": "dog"}, "'cat' needs a name"),
        ({"cat": None, "dog": "dog"}, "'cat' needs a name"),
        ({"cat": ["x", " "], "dog": "dog"}, "a name of the label 'cat' is blank"),
        ({"cat": ["x", 1], "dog": "dog"}, "a name of the label 'cat' must be a str"),
        ({"cat": ["x", "y"], "dog": ["y", "x"]}, "'cat' and 'dog' have the same prompts"),
    ],
)
def test_labels_that_cannot_be_told_apart(labels: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        prompts(labels)


@pytest.mark.parametrize(
    "template", ["a photo", "", "{0}", "{name}", "{} {}", "{label.__class__}", "{", "}", "{}{", "{{}}", "{label[0]}"]
)
def test_a_template_has_one_place_for_the_label(template: str) -> None:
    with pytest.raises(ConfigurationError, match="where the label goes"):
        prompts(["cat", "dog"], ["{}", template])


@pytest.mark.parametrize(
    ("templates", "said"), [([], "templates is empty"), (3, "must be texts, not int"), ([3], "a str or a function")]
)
def test_templates_are_texts_or_functions(templates: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        prompts(["cat", "dog"], templates)


def test_a_function_that_ignores_the_label_is_noticed() -> None:
    with pytest.raises(ConfigurationError, match="same prompts"):
        prompts(["cat", "dog"], lambda label: "an animal")


def test_half_a_surrogate_pair_is_no_label() -> None:
    with pytest.raises(InputError, match="surrogate"):
        prompts(["cat", "\ud800"])
