"""`jina-clip verify`: whether a server, an export or a checkpoint computes the model, and which mistake it makes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..backends.remote.dialects import DIALECTS
from ..catalog import ModelSpec, find_model
from ..errors import ConfigurationError
from ..settings import DEFAULT_MODEL
from .messages import INCOMPLETE, OK
from .options import add_output_options, open_output

if TYPE_CHECKING:
    from ..verification.verify import Report
    from .output import Output


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip verify`."""
    parser.add_argument("target", metavar="TARGET", help="URL of a server, `api`, an exported folder or a checkpoint")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="what it should compute (default: %(default)s)")
    parser.add_argument(
        "--against", metavar="TARGET", help="hold it against another target instead of the weights of --model here"
    )
    parser.add_argument("--dialect", choices=list(DIALECTS), default="jina", help="of a server (default: %(default)s)")
    parser.add_argument("--served-model", metavar="NAME", help="what the server calls the model (default: its name)")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Verify; 0 if nothing is wrong."""
    from ..verification.targets import Target
    from ..verification.verify import compare, verify

    out = open_output(args)
    if args.against is None:
        from ..verification.reference import Reference

        reference = Reference(args.model)
        spec = reference.spec
    else:
        spec = find_known(args.model)
    served = args.served_model or spec.name
    target = Target(args.target, model=served, dialect=args.dialect)
    try:
        if args.against is None:
            report = verify(target, reference, step=lambda name: out.note(f"asking for {name}"))
        else:
            other = Target(args.against, model=served, dialect=args.dialect)
            report = compare(target, other, model=spec, step=lambda name: out.note(f"asking both for {name}"))
            other.close()
    finally:
        target.close()
    print_report(out, report, args)
    return INCOMPLETE if report.faults else OK


def find_known(model: str) -> ModelSpec:
    """The facts of a model without its weights. Raises `ConfigurationError` for one that nobody knows."""
    spec = find_model(model)
    if spec is None:
        from ..backends.local.checkpoint_files import local_spec

        spec = local_spec(model)
    if spec is None:
        raise ConfigurationError(f"--model {model}: name a published model or a folder, so that its sizes are known")
    return spec


def print_report(out: Output, report: Report, args: argparse.Namespace) -> None:
    """Print what was found, for people or as JSON."""
    for kind, verdict in report.verdicts.items():
        if kind not in ("lengths", "order"):
            out.line(f"{kind}: smallest cosine with the right vectors {verdict.smallest_cosine:.6f}")
    for kind, finding in report.findings:
        mark = "WRONG" if finding.is_fault else "note"
        out.line(f"{mark:5}  {kind}: {finding.name}: {finding.advice}")
    if not report.findings:
        out.line(f"{args.target} computes {args.model}")
    out.result(
        {
            "target": args.target,
            "model": args.model,
            "correct": not report.faults,
            "smallest_cosine": {kind: verdict.smallest_cosine for kind, verdict in report.verdicts.items()},
            "findings": [_as_json(kind, finding) for kind, finding in report.findings],
        }
    )


def _as_json(kind: str, finding: Any) -> dict[str, Any]:
    return {"probes": kind, "name": finding.name, "advice": finding.advice, "fault": finding.is_fault}
