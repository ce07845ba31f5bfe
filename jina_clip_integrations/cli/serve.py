"""`jina-clip serve`: an HTTP server with the Jina API's schema for a model on this machine."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import socket
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ..credentials import is_loopback, url_host
from ..errors import ConfigurationError, require_extra
from ..server.settings import MIB, ServerSettings, read_api_keys
from ..settings import DEFAULT_MODEL
from .messages import OK
from .options import choose_backend, positive_int
from .output import Output
from .serve_on_ray import add_ray_options, check_ray_options, run_on_ray

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from ..encoder import JinaClipEncoder

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
BACKLOG = 2048
"""Connections that the operating system queues until they are accepted, at most."""

KEEP_ALIVE_S = 75
"""Keep-alive of an idle connection, in seconds; pools of clients expect about a minute."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `jina-clip serve`."""
    defaults = ServerSettings()
    models = "jina-clip-v1, jina-clip-v2, demo, a checkpoint folder or a Hub id"
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"{models} (default: {DEFAULT_MODEL})")
    backends = "local, onnx or openvino (default: what the model is for), or MODULE:FACTORY of a backend of your own"
    parser.add_argument("--backend", help=backends)
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps, or several with commas (default: auto)")
    parser.add_argument("--dtype", help="auto, float32, bfloat16 or float16 (default: auto)")
    parser.add_argument(
        "--image-size",
        type=positive_int,
        metavar="N",
        help="a quick look at images of N pixels (v2: 336 or 224), served as MODEL@N",
    )
    parser.add_argument("--cache", metavar="PATH", help="keep vectors in this folder and never embed an input twice")
    parser.add_argument(
        "--served-model-name", action="append", default=[], metavar="NAME", help="also answer to this name"
    )
    parser.add_argument("--quiet", action="store_true", help="no access log and no notes on stderr")
    _add_network_options(parser)
    _add_batching_options(parser, defaults)
    _add_limit_options(parser, defaults)
    add_ray_options(parser)


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("address and access")
    group.add_argument("--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST})")
    group.add_argument(
        "--port", type=port_number, default=DEFAULT_PORT, help=f"0 picks a free one (default: {DEFAULT_PORT})"
    )
    group.add_argument("--api-key-env", metavar="NAME", help="environment variable with the bearer key to ask for")
    group.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let web pages of this origin ask, such as http://localhost:3000; repeatable (default: none)",
    )
    group.add_argument("--tls-cert", metavar="FILE", help="certificate chain, for https")
    group.add_argument("--tls-key", metavar="FILE", help="private key of the certificate")
    group.add_argument("--strict", action="store_true", help="refuse what the published schema does not have")
    group.add_argument(
        "--allow-private-addresses",
        action="store_true",
        help="fetch images from http and from private networks too (default: public https only)",
    )


def _add_batching_options(parser: argparse.ArgumentParser, defaults: ServerSettings) -> None:
    group = parser.add_argument_group("batching")
    for option, type, metavar, default, help in (
        ("--max-batch", positive_int, "N", defaults.max_batch, "inputs per batch"),
        ("--batch-wait-ms", _milliseconds, "MS", defaults.batch_wait_s * 1000, "longest wait for a batch to fill"),
        ("--max-running", positive_int, "N", defaults.max_running, "batches at a time"),
    ):
        group.add_argument(option, type=type, metavar=metavar, default=default, help=f"{help} (default: {default:g})")


def _add_limit_options(parser: argparse.ArgumentParser, defaults: ServerSettings) -> None:
    group = parser.add_argument_group("limits")
    for option, default, help in (
        ("--max-queue", defaults.max_queue, "inputs admitted and not yet answered, then 429"),
        ("--max-items", defaults.max_items, "inputs per request"),
        ("--max-body-mib", defaults.max_body_bytes // MIB, "size of a request body"),
        ("--max-image-mib", defaults.max_image_bytes // MIB, "size of one encoded image"),
        ("--request-timeout", int(defaults.request_timeout_s), "seconds for one request"),
        ("--drain-timeout", int(defaults.drain_timeout_s), "seconds to finish the requests in progress when stopped"),
    ):
        group.add_argument(option, type=positive_int, metavar="N", default=default, help=f"{help} (default: {default})")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted, then finish the requests in progress."""
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        require_extra(package, extra="serve", purpose="jina-clip serve")
    out = Output(quiet=args.quiet)
    settings = build_settings(args)
    origin = f"{_scheme(args)}://{url_host(args.host)}"
    check_ray_options(args)
    if not settings.api_keys and not is_loopback(args.host):
        out.warn(f"serving on {args.host} without a key: whoever reaches this port may use it; see --api-key-env")
    if args.ray:
        return run_on_ray(args, settings, out, origin=origin, keep_alive_s=KEEP_ALIVE_S)
    # The port first: one that is taken shows at once, and not after minutes of loading.
    with open_socket(args.host, args.port) as listening, open_local_encoder(args) as encoder:
        _load(encoder, out)
        from ..server import create_app

        app = create_app(encoder, settings)
        address = f"{origin}:{listening.getsockname()[1]}/v1"
        out.note(f"serving {args.model} at {address} (stop with Ctrl-C)")
        _log_to_stderr(quiet=args.quiet)
        warnings.filterwarnings("ignore", message=".*were cut$")  # clients ask for that, and are told in `usage`
        serve(make_server(app, tls=(args.tls_cert, args.tls_key)), listening)
    return OK


def build_settings(args: argparse.Namespace) -> ServerSettings:
    """The settings of these options. Raises `ConfigurationError`, also for a key variable that is not set."""
    return ServerSettings(
        api_keys=read_api_keys(args.api_key_env),
        model_names=tuple(args.served_model_name),
        cors_origins=tuple(args.cors_origin),
        strict=args.strict,
        max_batch=args.max_batch,
        batch_wait_s=args.batch_wait_ms / 1000,
        max_running=args.max_running,
        max_queue=args.max_queue,
        max_items=args.max_items,
        max_body_bytes=args.max_body_mib * MIB,
        max_image_bytes=args.max_image_mib * MIB,
        allow_private_addresses=args.allow_private_addresses,
        request_timeout_s=args.request_timeout,
        drain_timeout_s=args.drain_timeout,
    )


def open_local_encoder(args: argparse.Namespace) -> JinaClipEncoder:
    """The encoder to serve, with the backend that runs the model here unless an option names another."""
    from ..backends.registry import backend_here
    from ..encoder import JinaClipEncoder

    backend = choose_backend(args.backend or backend_here(args.model), args.model)
    device = args.device.split(",") if args.device and "," in args.device else args.device
    given = {"device": device, "dtype": args.dtype, "image_size": args.image_size}
    options = {name: value for name, value in given.items() if value is not None}
    if isinstance(backend, str):
        options["model"] = args.model
    return JinaClipEncoder(backend=backend, cache=args.cache, **options)


def _load(encoder: JinaClipEncoder, out: Output) -> None:
    """Load the weights before the port answers, so that a damaged checkpoint is one line and an exit code."""
    name = encoder.spec.name  # a mistyped model shows here, before anything heavy is imported
    load = getattr(encoder.backend, "load", None)
    if load is not None:
        out.note(f"loading {name} …")
        load()


def serve(server: uvicorn.Server, listening: socket.socket) -> None:
    """Run until SIGINT or SIGTERM, and until admitted requests are answered."""
    # uvicorn handles both signals and raises them again at its end: here that is the normal end, not an error.
    previous = {number: signal.signal(number, _ignore_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _ignore_signal(_number: int, _frame: Any) -> None:
    pass


def make_server(app: FastAPI, *, tls: tuple[str | None, str | None] = (None, None)) -> uvicorn.Server:
    """The HTTP server for `app`; `tls` = files of the certificate and its private key."""
    import uvicorn

    service = app.state.service

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            # Before uvicorn stops listening: requests on open connections are refused from here on.
            service.drain()
            super().handle_exit(sig, frame)

    return Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(service.settings.drain_timeout_s)),
            ssl_certfile=tls[0],
            ssl_keyfile=tls[1],
        )
    )


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `ConfigurationError` if the address is taken or not one of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        hint = "; --port 0 picks a free one" if error.errno == errno.EADDRINUSE else ""
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror or error}{hint}") from error


def _scheme(args: argparse.Namespace) -> str:
    if bool(args.tls_cert) != bool(args.tls_key):
        raise ConfigurationError("--tls-cert and --tls-key belong together")
    for path in (args.tls_cert, args.tls_key):
        if path and not os.path.isfile(path):
            raise ConfigurationError(f"{path}: no such file")
    return "https" if args.tls_cert else "http"


def _log_to_stderr(*, quiet: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    for name in ("jina_clip_integrations", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        logger.propagate = False


def port_number(text: str) -> int:
    """An argparse type: a port from 0 to 65535."""
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number")
    return number


def _milliseconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 60_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in milliseconds")
    return number
