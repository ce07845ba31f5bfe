"""`jina-clip estimate`: what embedding a folder with the hosted service would cost. Nothing is sent."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..collections.passages import split_passages
from ..collections.scan import SourceFile, read_text, resolve_folder, scan
from ..errors import InputError
from ..settings import DEFAULT_MODEL
from ..types import Modality
from .messages import INCOMPLETE, OK
from .options import add_output_options, open_output
from .output import Output, plural, warn_of_unread


@dataclass
class Subtotal:
    """What the files of one modality cost."""

    files: int = 0
    tokens: int = 0
    tokens_resized: int = 0


@dataclass
class Estimate:
    """What a folder costs, sent as it is and with images resized first."""

    subtotals: dict[Modality, Subtotal] = field(default_factory=lambda: {"image": Subtotal(), "text": Subtotal()})
    failed: dict[str, str] = field(default_factory=dict)
    """File to why it could not be read."""
    unread: dict[str, str] = field(default_factory=dict)
    """File of another kind to why it is not read."""

    def total(self) -> Subtotal:
        """The sum over both modalities."""
        parts = list(self.subtotals.values())
        return Subtotal(
            files=sum(part.files for part in parts),
            tokens=sum(part.tokens for part in parts),
            tokens_resized=sum(part.tokens_resized for part in parts),
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip estimate`."""
    parser.add_argument("folder", help="folder of images and .txt or .md files, with its subfolders")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="jina-clip-v1 or jina-clip-v2 (default: %(default)s)")
    parser.add_argument(
        "--price", type=positive_price, metavar="USD", help="dollars per million tokens (default: documented)"
    )
    parser.add_argument("--strict", action="store_true", help=f"exit with {INCOMPLETE} if a file could not be read")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Add up a folder."""
    from ..tokens import PRICE_USD_PER_MILLION

    out = open_output(args)
    unread: dict[str, str] = {}
    files = list(scan(resolve_folder(args.folder), unread=unread))
    if not files:
        warn_of_unread(out, unread)
        raise InputError(f"{args.folder} holds no images and no .txt or .md files")
    with out.progress(len(files), "reading") as bar:
        estimate = add_up(files, args.model, advance=bar.advance)
    estimate.unread = unread
    print_estimate(out, estimate, args.model, args.price or PRICE_USD_PER_MILLION)
    for name, reason in estimate.failed.items():
        out.warn(f"left out {name}: {reason}")
    warn_of_unread(out, unread)
    return INCOMPLETE if args.strict and (estimate.failed or unread) else OK


def add_up(files: Iterable[SourceFile], model: str, *, advance: Callable[[], object] = lambda: None) -> Estimate:
    """The estimate of these files; of an image only the header is read."""
    estimate = Estimate()
    for file in files:
        try:
            _add(estimate.subtotals[file.modality], file, model)
        except (InputError, OSError) as error:
            estimate.failed[file.name] = str(error).removeprefix(f"{file.path}: ")
        advance()
    return estimate


def _add(subtotal: Subtotal, file: SourceFile, model: str) -> None:
    from ..tokens import estimate_tokens

    if file.modality == "image":
        items: list[dict[str, Any]] = [{"image": file.path}]
    else:
        # Split as `index` splits it, since each passage is embedded on its own.
        items = [{"text": passage} for passage in split_passages(read_text(file.path))]
    # The image stays a path, so only its header is read.
    as_it_is = estimate_tokens(items, model=model)
    resized = estimate_tokens(items, model=model, resize_images=True)
    subtotal.files += 1
    subtotal.tokens += as_it_is.total_tokens
    subtotal.tokens_resized += resized.total_tokens


def print_estimate(out: Output, estimate: Estimate, model: str, usd_per_million: float) -> None:
    """Print the estimate, for people or as JSON."""
    total = estimate.total()
    images, texts = estimate.subtotals["image"], estimate.subtotals["text"]
    out.line(f"{model} at ${usd_per_million:g} per million tokens; an estimate, nothing was sent.")
    out.line()
    header = ["", "files", "tokens as they are", "price", "tokens resized", "price"]
    rows = [("images", images), ("texts", texts), ("together", total)]
    out.table(header, [_columns(name, subtotal, usd_per_million) for name, subtotal in rows])
    out.line()
    out.line(describe_saving(total, images.files, usd_per_million))
    out.result(
        {
            "model": model,
            "usd_per_million_tokens": usd_per_million,
            "images": _as_json(images, usd_per_million),
            "texts": _as_json(texts, usd_per_million),
            "total": _as_json(total, usd_per_million),
            "failed": {**estimate.unread, **estimate.failed},
        }
    )


def _columns(name: str, subtotal: Subtotal, usd_per_million: float) -> list[str]:
    before, after = (
        format_dollars(tokens * usd_per_million / 1e6) for tokens in (subtotal.tokens, subtotal.tokens_resized)
    )
    return [name, f"{subtotal.files:,}", f"{subtotal.tokens:,}", before, f"{subtotal.tokens_resized:,}", after]


def _as_json(subtotal: Subtotal, usd_per_million: float) -> dict[str, float]:
    return {
        **vars(subtotal),
        "usd": subtotal.tokens * usd_per_million / 1e6,
        "usd_resized": subtotal.tokens_resized * usd_per_million / 1e6,
    }


def describe_saving(total: Subtotal, images: int, usd_per_million: float) -> str:
    """What resizing before upload saves, in words."""
    saved = total.tokens - total.tokens_resized
    if saved <= 0:
        return "Resizing before upload saves nothing here: no image is larger than one tile."
    price = format_dollars(saved * usd_per_million / 1e6)
    return (
        f"Resizing {plural(images, 'image')} before upload (the default) saves {saved:,} tokens, "
        f"{100 * saved // total.tokens}%, {price}; the model sees the same pixels."
    )


def format_dollars(amount: float) -> str:
    """A price with as many digits as it needs to be read: `$12.40`, `$0.0004`."""
    # Cents are enough for dollars; a fraction of a cent needs its significant digits.
    if amount >= 1 or amount == 0:
        return f"${amount:,.2f}"
    return f"${amount:.3g}" if amount >= 0.0001 else "<$0.0001"


def positive_price(text: str) -> float:
    """An argparse type: a positive number."""
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a price in dollars")
    return amount
