"""Options that the subcommands share, and the encoder that is built from them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..backends.registry import BACKENDS, default_backend, find_factory
from ..collections.identity import ADDRESS_OPTIONS
from ..errors import ConfigurationError
from ..images.rendering import HIGH_BIT_DEPTHS
from ..images.sources import SourcePolicy
from ..settings import DEFAULT_MODEL
from .messages import ALLOW_PRIVATE
from .output import Output

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

DEMO_MODEL = "demo"


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """`--json` and `--quiet`."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout instead of text")
    group.add_argument("--quiet", action="store_true", help="no progress and no notes on stderr")


def add_model_options(parser: argparse.ArgumentParser, *, model: str | None = DEFAULT_MODEL) -> None:
    """Which model, where it runs and how. `model=None` leaves the default to the subcommand."""
    group = parser.add_argument_group("model")
    default = f" (default: {model})" if model else ""
    group.add_argument(
        "--model", default=model, help=f"jina-clip-v1, jina-clip-v2, demo, a checkpoint folder or a Hub id{default}"
    )
    group.add_argument(
        "--backend",
        help=f"{', '.join(BACKENDS)}, or MODULE:FACTORY of your own (default: api, or what runs the folder)",
    )
    group.add_argument("--dimensions", type=positive_int, metavar="N", help="width of the vectors (default: full)")
    group.add_argument("--background", metavar="COLOR", help="put this colour under transparent pixels, such as white")
    group.add_argument(
        "--high-bit-depth",
        choices=HIGH_BIT_DEPTHS,
        help="grey of more than 8 bits: clip, as published (default), or scale",
    )
    add_backend_options(group)


def add_backend_options(group: argparse._ArgumentGroup) -> None:
    """Options that go to the backend or to the encoder's cache."""
    group.add_argument("--device", help="local: auto, cpu, cuda, cuda:1, mps, or several with commas (default: auto)")
    group.add_argument("--dtype", help="local: auto, float32, bfloat16 or float16 (default: auto)")
    group.add_argument(
        "--image-size",
        type=positive_int,
        metavar="N",
        help="local: a quick look at images of N pixels (v2: 336 or 224)",
    )
    group.add_argument("--batch-size", type=batch_size, metavar="N", help="items per forward pass or request")
    group.add_argument("--cache", metavar="PATH", help="keep vectors in this folder and never embed an input twice")
    group.add_argument("--base-url", metavar="URL", help="api: a server of your own instead of api.jina.ai")
    group.add_argument("--endpoint-name", metavar="NAME", help="sagemaker: name of the endpoint")
    group.add_argument("--region-name", metavar="NAME", help="sagemaker: AWS region of the endpoint")


def add_fetch_options(parser: argparse.ArgumentParser) -> None:
    """What images by URL may lead to."""
    parser.add_argument(
        ALLOW_PRIVATE,
        action="store_true",
        help="fetch images from private networks too, not only from public addresses",
    )


def open_output(args: argparse.Namespace) -> Output:
    """The output as `--json` and `--quiet` want it."""
    return Output(as_json=args.json, quiet=args.quiet)


def open_encoder(args: argparse.Namespace, **overrides: Any) -> JinaClipEncoder:
    """The encoder that the options describe; `overrides` are constructor arguments that take precedence.

    Raises `ConfigurationError` for settings that cannot work and `ImportError` for a missing extra.
    """
    from ..encoder import JinaClipEncoder

    settings = {**encoder_settings(args), "backend": choose_backend(args.backend, args.model)}
    return JinaClipEncoder(**(settings | overrides))


def encoder_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Constructor arguments of the encoder that the options describe, all but `backend`."""
    settings: dict[str, Any] = {
        "model": args.model,
        "dimensions": args.dimensions,
        "cache": args.cache,
        **rendering_options(args),
        **backend_options(args),
    }
    if getattr(args, "allow_private_addresses", False):
        settings["sources"] = SourcePolicy.trusted()
    return settings


def rendering_options(args: argparse.Namespace) -> dict[str, Any]:
    """How images become RGB, as far as it was said."""
    given = vars(args)  # the demo has no such options
    return {name: given[name] for name in ("background", "high_bit_depth") if given.get(name) is not None}


def vector_width(encoder: JinaClipEncoder) -> int:
    """Width of the encoder's vectors; where only a server knows its model, it embeds one short text."""
    # The text is paid for once, and later calls know the width.
    return encoder.dimensions or int(encoder.encode_text("width").shape[-1])


def backend_options(args: argparse.Namespace) -> dict[str, Any]:
    """What was given for the backend. The encoder refuses an option that its backend does not have."""
    # One name stays a string, as in Python; several become a list, one worker each.
    device = args.device.split(",") if args.device and "," in args.device else args.device
    given = {"device": device, "dtype": args.dtype, "batch_size": args.batch_size, **address_options(args)}
    given["image_size"] = vars(args).get("image_size")  # the demo has no such option
    return {name: value for name, value in given.items() if value is not None}


def address_options(args: argparse.Namespace) -> dict[str, str]:
    """Where the backend is found, as far as it was given: what a collection has to remember."""
    given = vars(args)  # the demo has no such options
    return {name: given[name] for name in ADDRESS_OPTIONS if given.get(name) is not None}


def choose_backend(backend: str | None, model: str) -> Any:
    """The encoder's `backend` argument: a name, or the object that `MODULE:FACTORY` makes."""
    chosen = backend_or_factory(backend, model)
    return chosen() if callable(chosen) else chosen


def backend_or_factory(backend: str | None, model: str) -> str | Callable[[], Any]:
    """A backend's name, or the function that `MODULE:FACTORY` names.

    This imports code that the user named, as `python -m` does. Raises `ConfigurationError` for anything else.
    """
    # A folder and the demo model exist only here; every other name the service knows, or says that it does not.
    if backend is None:
        return default_backend(model)
    # A colon is in no name of a backend.
    if ":" in backend:
        return find_factory(backend)
    if backend not in BACKENDS:
        known = ", ".join(map(repr, BACKENDS))
        raise ConfigurationError(f"--backend {backend!r} is none of {known}, nor MODULE:FACTORY")
    return backend


def positive_int(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return number


def batch_size(text: str) -> int | str:
    """An argparse type: a positive integer or `auto`."""
    return text if text == "auto" else positive_int(text)


def probability(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number
