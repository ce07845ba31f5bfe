"""`jina-clip serve --ray`: the same server as replicas in a Ray cluster."""

from __future__ import annotations

import argparse
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, require_extra
from ..server.settings import ServerSettings
from .messages import OK
from .options import positive_int
from .output import Output

if TYPE_CHECKING:
    from ..ray.serving import ServeArguments

NEEDS_RAY = {
    "address": "--address",
    "replicas": "--replicas",
    "min_replicas": "--min-replicas",
    "max_replicas": "--max-replicas",
    "replica_cpus": "--replica-cpus",
    "replica_gpus": "--replica-gpus",
}


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """`--ray` and what goes with it."""
    group = parser.add_argument_group("replicas, with the extra ray")
    group.add_argument("--ray", action="store_true", help="serve from replicas in a Ray cluster")
    group.add_argument("--address", metavar="HOST:PORT", help="a cluster that runs, or auto (default: one of its own)")
    group.add_argument("--replicas", type=positive_int, metavar="N", help="replicas of the model (default: 1)")
    group.add_argument("--min-replicas", type=positive_int, metavar="N", help="at least so many, as the load asks for")
    group.add_argument("--max-replicas", type=positive_int, metavar="N", help="at most so many, as the load asks for")
    group.add_argument("--replica-cpus", type=_share, metavar="N", help="processors of a replica (default: 1)")
    group.add_argument("--replica-gpus", type=_share, metavar="N", help="GPUs of a replica, or a share of one")


def check_ray_options(args: argparse.Namespace) -> None:
    """Raise `ConfigurationError` for an option of `--ray` without it."""
    for name, option in NEEDS_RAY.items():
        if not args.ray and getattr(args, name) is not None:
            raise ConfigurationError(f"{option} is about replicas in a Ray cluster; it needs --ray")
    if args.ray and args.device and "," in args.device:
        raise ConfigurationError("--device with several devices: with --ray each replica has one; use --replicas")


def serve_arguments(args: argparse.Namespace, settings: ServerSettings) -> ServeArguments:
    """The deployment that these options describe. Raises `ConfigurationError`."""
    from ..ray.serving import NOT_IN_A_FILE, ServeArguments

    defaults = ServerSettings()
    values = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in NOT_IN_A_FILE}
    given: dict[str, Any] = {
        "model": args.model,
        "backend": args.backend,
        "device": args.device,
        "dtype": args.dtype,
        "image_size": args.image_size,
        "cache": args.cache,
        "api_key_env": args.api_key_env,
        "server": {name: value for name, value in values.items() if value != getattr(defaults, name)},
        "replicas": args.replicas,
        "min_replicas": args.min_replicas,
        "max_replicas": args.max_replicas,
        "num_cpus": args.replica_cpus,
        "num_gpus": args.replica_gpus,
    }
    try:
        return ServeArguments(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        said = [str(each["msg"]).removeprefix("Value error, ") for each in getattr(error, "errors", list)()]
        raise ConfigurationError("; ".join(said) or str(error)) from error


def run_on_ray(
    args: argparse.Namespace, settings: ServerSettings, out: Output, *, origin: str, keep_alive_s: int
) -> int:
    """Serve until interrupted, then let the replicas finish the requests in progress.

    `origin` is the service's address without its port.
    """
    require_extra("ray", extra="ray", purpose="jina-clip serve --ray")
    from ..ray.cluster import attached
    from ..ray.serving import Place, serving

    arguments = serve_arguments(args, settings)
    port = args.port or free_port(args.host)
    place = Place(
        address=args.address,
        host=args.host,
        port=port,
        tls=(args.tls_cert, args.tls_key),
        keep_alive_s=keep_alive_s,
    )
    ready = f"serving {args.model} at {origin}:{port}/v1 (stop with Ctrl-C)"
    out.note(f"starting replicas of {args.model} …")
    # The signal after the cluster: attaching to one puts Ray's own handler in the place of whatever was there.
    with attached(args.address), _sigterm_as_ctrl_c(), serving(arguments, place):
        out.note(ready)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return OK


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM interrupts like Ctrl-C within the block, also where replicas wait for machines that never come."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def free_port(host: str) -> int:
    """A port that nobody listens on at this moment; Ray's proxy has to be told one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as probe:
        port: int = probe.getsockname()[1]
    return port


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processors")
    return number
