"""Labels of a classification as prompts: the texts whose vectors stand for each label."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import ConfigurationError
from ..inputs import check_text
from ..types import Modality

Labels: TypeAlias = Sequence[str] | Mapping[str, str | Sequence[str]]
"""The labels; as a mapping, each with one or several names or prompts of its own."""

Template: TypeAlias = str | Callable[[str], str]
"""A prompt with `{}` or `{label}` in the place of the label, or a function from the label to the prompt."""

PHOTO_TEMPLATE = "a photo of a {}."
"""The prompt of Radford et al. (2021), 3.1.4; see `retrieval.classification`."""

BARE_TEMPLATE = "{}"
"""The label as it is."""

DEFAULT_TEMPLATES: Mapping[Modality, str] = {"image": PHOTO_TEMPLATE, "text": BARE_TEMPLATE}
"""What a label is put into where nothing else was said, by what is to be classified."""


@dataclass(frozen=True)
class LabelPrompts:
    """Labels, and the prompts of each. Hashable."""

    labels: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    """For every label its prompts, one or more."""

    @property
    def texts(self) -> list[str]:
        """All prompts, label after label."""
        return [prompt for prompts in self.prompts for prompt in prompts]

    @property
    def counts(self) -> list[int]:
        """For every label how many prompts it has."""
        return [len(prompts) for prompts in self.prompts]


def make_prompts(labels: Labels, templates: Template | Sequence[Template] | None, modality: Modality) -> LabelPrompts:
    """The prompts of each label: every template with every name of the label.

    Without `templates`, names of a mapping are prompts already, and other labels go into `DEFAULT_TEMPLATES`.
    Raises `ConfigurationError` for labels that cannot be told apart and for templates without a place for the label.
    """
    names = _names_by_label(labels)
    if templates is None:
        templates = BARE_TEMPLATE if isinstance(labels, Mapping) else DEFAULT_TEMPLATES[modality]
    fillers = _fillers(templates)
    prompts = {label: tuple(check_text(fill(name)) for name in own for fill in fillers) for label, own in names.items()}
    _refuse_same_prompts(prompts)
    return LabelPrompts(tuple(prompts), tuple(prompts.values()))


def _names_by_label(labels: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise ConfigurationError(f"labels must be a list of texts or a mapping, not one {type(labels).__name__}")
    if isinstance(labels, (set, frozenset)):
        raise ConfigurationError("a set has no order, so its columns could not be told apart; pass a list of labels")
    names: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for label in labels:
        plain = _check_name(label, "a label")
        twice = seen.setdefault(_comparable(plain), plain)
        if plain in names or twice != plain:
            raise ConfigurationError(f"the label {plain!r} is there twice")
        names[plain] = _own_names(plain, labels[label]) if isinstance(labels, Mapping) else (plain,)
    if len(names) < 2:
        what = f"only one label, {next(iter(names))!r}" if names else "no labels"
        raise ConfigurationError(
            f"{what}: probabilities are shared out among labels, so there must be at least two; "
            "add what else an input may be"
        )
    return names


def _own_names(label: str, given: Any) -> tuple[str, ...]:
    own = [given] if isinstance(given, str) else given
    if not isinstance(own, Sequence) or not own:
        raise ConfigurationError(f"the label {label!r} needs a name or a list of names, not {given!r}")
    return tuple(_check_name(name, f"a name of the label {label!r}") for name in own)


def _check_name(name: Any, what: str) -> str:
    if not isinstance(name, str):
        raise ConfigurationError(f"{what} must be a str, not {type(name).__name__}")
    if not name.strip():
        raise ConfigurationError(f"{what} is blank")
    return check_text(name)


def _comparable(label: str) -> str:
    """What two labels have in common that look alike: white space around them and composed accents do not count."""
    return unicodedata.normalize("NFC", label.strip())


def _fillers(templates: Any) -> list[Callable[[str], str]]:
    given = [templates] if isinstance(templates, str) or callable(templates) else templates
    if not isinstance(given, Iterable):
        raise ConfigurationError(f"templates must be texts, not {type(templates).__name__}")
    fillers = [_filler(template) for template in given]
    if not fillers:
        raise ConfigurationError(f"templates is empty; leave it out, or give one such as {PHOTO_TEMPLATE!r}")
    return fillers


def _filler(template: Any) -> Callable[[str], str]:
    if callable(template):
        function: Callable[[str], str] = template
        return function
    if not isinstance(template, str):
        raise ConfigurationError(f"a template must be a str or a function, not {type(template).__name__}")
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        plain = template.format("", label="") is not None
    except (ValueError, KeyError, IndexError, AttributeError):
        fields, plain = [], False
    if not plain or not fields or not set(fields) <= {"", "label"} or fields.count("") > 1:
        raise ConfigurationError(
            f"the template {template!r} must have one {{}} or {{label}} where the label goes, as in {PHOTO_TEMPLATE!r}"
        )
    return lambda name: template.format(name, label=name)


def _refuse_same_prompts(prompts: Mapping[str, tuple[str, ...]]) -> None:
    """Two labels with the same prompts have the same vector, and one of them would win by its place in the list."""
    labels: dict[tuple[str, ...], str] = {}
    for label, own in prompts.items():
        other = labels.setdefault(tuple(sorted(own)), label)
        if other != label:
            raise ConfigurationError(f"the labels {other!r} and {label!r} have the same prompts, such as {own[0]!r}")
