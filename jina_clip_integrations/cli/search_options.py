"""Options that say what is searched for, which files are looked at, and how results are shown."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import datetime

from ..collections.filters import FORMAT_NAMES, Filters, parse_moment
from ..collections.query import Query, Term
from ..errors import InputError
from ..types import Modality
from .options import positive_int, probability
from .terminal import PROTOCOLS

KINDS: dict[str, Modality] = {"images": "image", "texts": "text"}
"""The lists of results."""

UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}
NEAR_KM = 1.0
"""Distance where `--near` names none."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?i?)b?", re.IGNORECASE)
_DEGREES = re.compile(r"([-+]?\d+(?:\.\d+)?)°?\s*([NSEW]?)", re.IGNORECASE)
_WEIGHTED = re.compile(r"(.*\S)\^(\d+(?:\.\d*)?|\.\d+)", re.DOTALL)


def add_query_options(parser: argparse.ArgumentParser) -> None:
    """What is searched for."""
    parser.add_argument("query", nargs="?", help='words to search with; "car +beach -snow" adds and takes away')
    parser.add_argument("--image", metavar="FILE", help="search with this image, alone or with the words")
    parser.add_argument("--similar-to", metavar="NAME", help="search with an indexed file, named as in the results")
    for sign in ("plus", "minus"):
        what = "add" if sign == "plus" else "take away half of"
        parser.add_argument(
            f"--{sign}",
            action="append",
            default=[],
            metavar="WORDS",
            help=f"{what} the meaning of these words; WORDS^0.3 sets the weight; may be repeated",
        )


def make_query(args: argparse.Namespace) -> Query:
    """What is searched for. Raises `InputError` for a query that is not understood."""
    if args.query is None and args.image is None and args.similar_to is None and not args.plus:
        raise InputError("give either words to search with or --image FILE, --similar-to NAME, --plus WORDS")
    plus, minus = ([_weigh(words) for words in given] for given in (args.plus, args.minus))
    parsed = () if args.query is None else Query.parse(args.query).terms
    given = args.image is not None or args.similar_to is not None or plus or minus
    others = Query.of(image=args.image, similar_to=args.similar_to, plus=plus, minus=minus).terms if given else ()
    return Query(parsed + others)


def _weigh(words: str) -> str | Term:
    """Words that are taken as they are, but for a weight at the end."""
    found = _WEIGHTED.fullmatch(words)
    return words if found is None else Term(float(found[2]), text=found[1])


def add_filter_options(parser: argparse.ArgumentParser, *, texts: bool = True) -> None:
    """Which files are looked at; without `texts` only images can be."""
    group = parser.add_argument_group("filters", "What a file does not say of itself leaves it out.")
    group.add_argument("--since", type=_start, metavar="TIME", help="taken in 2024, 2024-05, 2024-05-31T18:00 or later")
    group.add_argument("--until", type=_end, metavar="TIME", help="taken in 2024, 2024-05, 2024-05-31T18:00 or earlier")
    group.add_argument("--folder", metavar="NAME", help="in this subfolder, at any depth")
    lists = "all, images, texts, or formats: " if texts else "formats: "
    group.add_argument("--kind", default="all", metavar="KIND", help=f"{lists}jpeg,png,… (default: all)")
    group.add_argument("--min-size", type=_size, metavar="SIZE", help="files of at least 200k, 1.5M, …")
    group.add_argument("--max-size", type=_size, metavar="SIZE", help="files of at most 200k, 1.5M, …")
    group.add_argument("--camera", metavar="WORDS", help="taken with a camera whose name has these words")
    group.add_argument(
        "--near",
        type=_place,
        metavar="LAT,LON[,KM]",
        help=f"taken around a place, such as 33.86S,151.2E,10 (default: {NEAR_KM:g} km)",
    )


def read_kinds(kind: str, lists: Sequence[str] = tuple(KINDS)) -> tuple[list[str], frozenset[str]]:
    """The lists of results that `--kind` means, and the formats that it names. Raises `InputError`."""
    words = [word.strip().lower().removeprefix(".") for word in kind.split(",")]
    if words == ["all"]:
        return list(lists), frozenset()
    wanted = [name for name in lists if name in words]
    formats = frozenset(words) - set(lists)
    unknown = sorted(formats - _known_formats())
    if unknown:
        raise InputError(f"--kind {unknown[0]!r} is none of all, {', '.join(lists)}, nor a format such as jpeg or png")
    if formats and wanted:
        raise InputError(f"--kind {kind}: either {' and '.join(lists)}, or formats of images")
    return (["images"] if formats else wanted), formats


def _known_formats() -> set[str]:
    from ..collections.scan import readable_formats

    return {name.lower() for name in readable_formats()} | set(FORMAT_NAMES)


def make_filters(args: argparse.Namespace, formats: frozenset[str]) -> Filters:
    """Which files are looked at. Raises `InputError` for what no file can be."""
    return Filters(
        since=args.since,
        until=args.until,
        folder=args.folder,
        kinds=formats,
        min_bytes=args.min_size,
        max_bytes=args.max_size,
        camera=args.camera,
        near=args.near,
    )


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """How many results, and which of them."""
    parser.add_argument("--top", type=positive_int, default=5, metavar="K", help="results per list (default: 5)")
    parser.add_argument("--fuse", action="store_true", help="one list of images and texts, merged by rank")
    parser.add_argument(
        "--cut-off",
        type=_cut_off,
        metavar="SCORE",
        help="show nothing below this score; auto: below what chance gives in this collection (default: none)",
    )
    parser.add_argument(
        "--refine",
        type=positive_int,
        metavar="N",
        help="of a store made with a smaller --image-size: score the best N images again at the model's own size",
    )
    parser.add_argument(
        "--diversity",
        type=probability,
        default=0.0,
        metavar="N",
        help="from 0, the best (default), to 1, as different from each other as can be",
    )


def add_display_options(parser: argparse.ArgumentParser, *, paths: str) -> None:
    """Paths or images in place of lists; `paths` says which paths."""
    parser.add_argument("--paths", action="store_true", help=f"print {paths} and nothing else, one per line")
    parser.add_argument("-0", "--null", action="store_true", help="as --paths, each followed by a zero byte (xargs -0)")
    parser.add_argument(
        "--thumbnails", action="store_true", help="draw the images, if the terminal can (kitty, iTerm2, sixel)"
    )
    parser.add_argument("--graphics", choices=PROTOCOLS, help="draw them in this way, without asking the terminal")


def check_display(args: argparse.Namespace) -> None:
    """Settle what the options for the display imply. Raises `InputError` for two that exclude each other."""
    args.paths = args.paths or args.null
    args.thumbnails = args.thumbnails or args.graphics is not None
    given = {"--paths": args.paths, "--thumbnails": args.thumbnails, "--json": args.json}
    chosen = [option for option, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise InputError(f"{chosen[0]} and {chosen[1]} exclude each other")


def _start(text: str) -> datetime:
    return _moment(text, end=False)


def _end(text: str) -> datetime:
    return _moment(text, end=True)


def _moment(text: str, *, end: bool) -> datetime:
    try:
        return parse_moment(text, end=end)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None or found[2].lower() not in UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 200k, 1.5M, 2GB or 4MiB")
    return int(float(found[1]) * UNITS[found[2].lower()])


def _place(text: str) -> tuple[float, float, float]:
    parts = text.split(",")
    try:
        latitude, longitude = (_degrees(part, axis) for part, axis in zip(parts, ("NS", "EW"), strict=False))
        km = float(parts[2].lower().removesuffix("km")) if len(parts) == 3 else NEAR_KM
        if len(parts) > 3:
            raise ValueError
        Filters(near=(latitude, longitude, km))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no place; write 33.86S,151.2E,10") from error
    return latitude, longitude, km


def _degrees(text: str, axis: str) -> float:
    found = _DEGREES.fullmatch(text.strip())
    if found is None or (found[2] and found[2].upper() not in axis):
        raise ValueError
    return -float(found[1]) if found[2].upper() == axis[1] else float(found[1])


def _cut_off(text: str) -> float | str | None:
    if text in ("auto", "none"):
        return None if text == "none" else text
    try:
        score = float(text)
    except ValueError:
        score = 2.0
    if not -1 <= score <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto, none nor a score from -1 to 1")
    return score
