"""`jina-clip evaluate`: how well a model finds things in data of your own or in the demo gallery, and how small its
vectors may become.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog import ModelSpec
from ..errors import ConfigurationError, InputError
from ..evaluation.captions import captions_task
from ..evaluation.judged import is_beir, judged_task
from ..evaluation.metrics import Values, require_metrics
from ..evaluation.partial import PartialRun
from ..evaluation.plot import check_plot_path, plot_settings
from ..evaluation.recommendation import ENOUGH, find_reference
from ..evaluation.report import (
    compare_runs,
    make_report,
    per_query,
    read_report,
    table_of_directions,
    table_of_languages,
    table_of_settings,
    write_report,
)
from ..evaluation.runs import HEADLINE, Evaluation, Measured, Setting
from ..evaluation.speed import ROWS
from ..evaluation.statistics import Comparison
from ..evaluation.storage import BITS, OVERSAMPLING, storage_types
from ..evaluation.task import RetrievalTask, gallery_task
from ..retrieval.fingerprint import VectorFingerprint
from ..settings import DEFAULT_MODEL
from .batches import encode_items
from .evaluate_mteb import add_mteb_options, run_mteb, wants_mteb
from .messages import OK, telling_how_to_go_on
from .options import (
    DEMO_MODEL,
    add_model_options,
    add_output_options,
    open_encoder,
    open_output,
    positive_int,
    vector_width,
)
from .output import Output

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

GO_ON = "finished vectors and settings are kept; the same command again goes on from there"

INDIFFERENT = frozenset(
    (
        *("command", "run", "at", "types", "keep", "output", "plot", "against", "json", "quiet", "cache", "batch_size"),
        *("pairs", "queries", "qrels", "split", "languages"),
        *("mteb", "suite", "results", "beside", "no_query_instruction"),
    )
)
"""Options that leave the figures of a setting as they are, or are part of the task."""

SIGNIFICANT = 0.05
"""A difference with a smaller p-value is called one."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip evaluate`."""
    parser.add_argument(
        "pairs",
        nargs="?",
        help="captioned images: a folder, .csv, .jsonl or .parquet; or a BEIR folder; or the corpus of --qrels "
        "(default: the demo gallery)",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--languages", metavar="LIST", help="gallery: only these, such as en,de,ja (default: all)")
    data.add_argument("--queries", metavar="FILE", help=".jsonl, or lines of id, tab, text")
    data.add_argument("--qrels", metavar="FILE", help="judgements: BEIR's three columns or TREC's four")
    data.add_argument("--split", metavar="NAME", help="BEIR: qrels/NAME.tsv (default: test)")
    data.add_argument("--query-task", metavar="NAME", help="give text queries this instruction: retrieval.query, auto")
    _add_setting_options(parser.add_argument_group("settings"))
    add_model_options(parser, model=None)
    add_mteb_options(parser)
    add_output_options(parser)
    files = parser.add_argument_group("reports")
    files.add_argument("--output", metavar="REPORT.json", help="everything, with the figures of every query")
    files.add_argument("--plot", metavar="FILE", help="quality kept against size, as .png, .svg or .pdf")
    files.add_argument("--against", metavar="RUN", help="compare with a report of --output, or with another model")


def _add_setting_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--at", type=positive_int, nargs="+", metavar="N", help="dimensions (default: trained)")
    group.add_argument(
        "--types", nargs="+", metavar="TYPE", default=list(BITS), help=f"of {', '.join(BITS)} (default: all)"
    )
    group.add_argument(
        "--oversampling",
        type=positive_int,
        default=OVERSAMPLING,
        metavar="N",
        help="rescore N times as many (4)",
    )
    group.add_argument("--keep", type=share, default=ENOUGH, metavar="SHARE", help="that a recommendation keeps (0.99)")
    group.add_argument("--no-speed", action="store_true", help="do not measure queries per second")


def share(text: str) -> float:
    """An argparse type: a number above 0 and up to 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.99")
    return number


def run(args: argparse.Namespace) -> int:
    """Measure, show, and write what was asked for."""
    if wants_mteb(args):
        return run_mteb(args)
    out = open_output(args)
    require_metrics()
    check_files(args)
    task = read_task(args)
    for note in task.notes:
        out.note(note)
    if args.model is None:
        # The gallery is what the demo model was trained for; own data deserve a real model.
        args.model = DEFAULT_MODEL if args.pairs else DEMO_MODEL
    against = find_against(args)
    evaluation, measured, values, report = evaluate_model(args, task, out)
    report["per_query"] = per_query(evaluation, find_reference(measured).setting, values)
    print_report(out, report, measured)
    if args.against:
        other, name = against or evaluate_other(args, task, out), args.against
        compared = compare_runs(evaluation.directions, values, other["per_query"], name)
        print_comparison(out, compared, args.model, name)
        report["against"] = {"name": name, "model": other["model"], "directions": _compared_to_dict(compared)}
    if args.plot:
        plot_settings(measured, Path(args.plot), title=f"{args.model} on {task.name}", enough=args.keep)
    if args.output:
        write_report(Path(args.output), report)
    out.result({key: value for key, value in report.items() if key != "per_query"})
    return OK


def check_files(args: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written before anything is embedded."""
    storage_types(args.types)
    if args.plot:
        check_plot_path(Path(args.plot))
    if args.output:
        if not args.output.endswith(".json"):
            raise InputError(f"--output {args.output}: a report is a .json")
        if not Path(args.output).parent.is_dir():
            raise InputError(f"--output {args.output}: there is no folder {Path(args.output).parent}")


def read_task(args: argparse.Namespace) -> RetrievalTask:
    """The data that the options name. Raises `InputError`."""
    if not args.pairs:
        if args.queries or args.qrels or args.split:
            raise InputError("--queries, --qrels and --split need the corpus: a folder or a .jsonl")
        return gallery_task([part.strip() for part in args.languages.split(",")] if args.languages else ())
    if args.languages:
        raise InputError("--languages chooses names of the demo gallery; your own data have a column for it")
    source = Path(args.pairs).expanduser()
    if not source.exists():
        raise InputError(f"{args.pairs}: there is no such file or folder")
    if args.qrels or args.queries or (source.is_dir() and is_beir(source)):
        queries, qrels = (Path(name).expanduser() if name else None for name in (args.queries, args.qrels))
        return judged_task(source, queries=queries, qrels=qrels, split=args.split)
    if args.split:
        raise InputError("--split chooses the judgements of a BEIR folder")
    return captions_task(source)


def find_against(args: argparse.Namespace) -> dict[str, Any] | None:
    """The report to compare with; None if there is none, or if `--against` names a model."""
    if not args.against or not args.against.endswith(".json"):
        return None
    return read_report(Path(args.against))


def evaluate_model(
    args: argparse.Namespace, task: RetrievalTask, out: Output
) -> tuple[Evaluation, list[Measured], dict[str, Values], dict[str, Any]]:
    """Embed the task and measure every setting; figures of an interrupted run are taken over."""
    partial = PartialRun(task, run_options(args))
    with telling_how_to_go_on(GO_ON), open_encoder(args, cache=args.cache or partial.vectors) as encoder:
        sizes = evaluation_sizes(encoder.spec, vector_width(encoder), args.at)
        evaluation = embed_task(encoder, task, out, args)
        model = {"name": args.model, **_fingerprint(encoder)}
        settings = [Setting(size, storage) for size in sizes for storage in storage_types(args.types)]
        measured = measure_settings(evaluation, settings, partial, out)
    values = evaluation.values(find_reference(measured).setting)
    report = make_report(evaluation, measured, model, enough=args.keep)
    partial.discard()
    return evaluation, measured, values, report


def run_options(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the figures of a setting, besides the data."""
    return {name: value for name, value in vars(args).items() if name not in INDIFFERENT}


def embed_task(encoder: JinaClipEncoder, task: RetrievalTask, out: Output, args: argparse.Namespace) -> Evaluation:
    """Vectors of both sides at full width."""
    names = task.forward_name.split("_to_")
    corpus = encode_items(encoder, task.corpus, out, _plural(names[1]))
    queries = encode_items(encoder, task.queries, out, _plural(names[0]))
    instruction = encoder.query_task if args.query_task == "auto" else args.query_task
    asking = None
    if instruction:
        asking = encode_items(encoder, task.queries, out, f"{_plural(names[0])} as queries", task=instruction)
    return Evaluation(
        task, queries, corpus, asking=asking, oversampling=args.oversampling, search_rows=0 if args.no_speed else ROWS
    )


def evaluate_other(args: argparse.Namespace, task: RetrievalTask, out: Output) -> dict[str, Any]:
    """The other model of `--against` on the same data, at its full width in float32."""
    other = argparse.Namespace(**vars(args))
    other.model, other.backend, other.dimensions = args.against, None, None
    with open_encoder(other) as encoder:
        width = vector_width(encoder)
        evaluation = embed_task(encoder, task, out, other)
        model = {"name": other.model, **_fingerprint(encoder)}
    setting = Setting(width, storage_types(["float32"])[0])
    return {"model": model, "per_query": per_query(evaluation, setting, evaluation.values(setting))}


def measure_settings(
    evaluation: Evaluation, settings: Sequence[Setting], partial: PartialRun, out: Output
) -> list[Measured]:
    """The figures of every setting, with progress; those of an interrupted run are not measured again."""
    finished, measured = partial.finished(), []
    with out.progress(len(settings), "settings") as bar:
        for setting in settings:
            one = finished.get(setting)
            if one is None:
                one = evaluation.measure(setting)
                partial.add(one)
            measured.append(one)
            bar.advance()
    return measured


def evaluation_sizes(spec: ModelSpec | None, dimensions: int, at: Sequence[int] | None) -> list[int]:
    """The widths to evaluate, the largest first: those asked for, or the trained ones up to `dimensions`."""
    if at:
        for size in at:
            if size > dimensions:
                raise InputError(f"--at {size}: the vectors have {dimensions} dimensions")
            if spec is not None:
                spec.check_dimensions(size)
        return sorted(set(at), reverse=True)
    trained = spec.matryoshka_dimensions if spec else ()
    return sorted({dimensions, *(size for size in trained if size < dimensions)}, reverse=True)


def print_report(out: Output, report: Mapping[str, Any], measured: Sequence[Measured]) -> None:
    """Print tables for people."""
    data, reference = report["data"], find_reference(measured)
    out.line(
        f"{report['model']['name']} on {data['name']}: {data['queries']:,} queries, {data['documents']:,} documents"
    )
    out.line()
    first = next(iter(reference.directions))
    mean = ", mean over languages" if len(data["languages"]) > 1 else ""
    out.line(f"{first.replace('_', ' ')}, per cent{mean}; kept: {HEADLINE}, both directions")
    out.table(*table_of_settings(measured))
    out.line()
    out.line(f"{reference.setting}, with 95% intervals")
    out.table(*table_of_directions(reference))
    for name, result in reference.directions.items():
        if result.languages:
            out.line()
            out.line(f"{name.replace('_', ' ')}, per language")
            out.table(*table_of_languages(result))
    out.line()
    out.line(f"Recommended: {report['recommendation']['reason']}.")


def print_comparison(out: Output, compared: Mapping[str, Mapping[str, Comparison]], ours: str, theirs: str) -> None:
    """Print the differences to another run."""
    out.line()
    out.line(f"{ours} minus {theirs}, points; p-value of a paired randomisation test")
    rows = [
        [f"{name.replace('_', ' ')}, {measure}", f"{100 * one.difference:+.2f}", f"{one.p_value:.4f}", _verdict(one)]
        for name, measures in compared.items()
        for measure, one in measures.items()
    ]
    out.table(["measure", "difference", "p", ""], rows)


def _verdict(one: Comparison) -> str:
    if one.p_value >= SIGNIFICANT:
        return "no difference shown"
    return "better" if one.difference > 0 else "worse"


def _compared_to_dict(compared: Mapping[str, Mapping[str, Comparison]]) -> dict[str, Any]:
    return {
        name: {measure: {"difference": one.difference, "p_value": one.p_value} for measure, one in measures.items()}
        for name, measures in compared.items()
    }


def _fingerprint(encoder: JinaClipEncoder) -> dict[str, Any]:
    try:
        return dict(VectorFingerprint.of(encoder).to_metadata())
    except ConfigurationError:  # a backend of the user's own, without a name that says what it computes
        return {}


def _plural(kind: str) -> str:
    return "queries" if kind == "query" else f"{kind}s"
