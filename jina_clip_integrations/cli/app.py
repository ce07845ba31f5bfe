"""`jina-clip app`: search a folder of one's own images in the browser."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..app.settings import AppSettings
from ..credentials import is_loopback, url_host
from ..errors import require_extra
from .messages import OK
from .options import add_model_options
from .output import Output
from .serve import open_socket, serve
from .served_folder import add_access_options, add_store_options, choose_token, make_http_server, open_collection

if TYPE_CHECKING:
    pass

DEFAULT_PORT = 8790
TOKEN_VARIABLE = "JINA_CLIP_APP_TOKEN"  # noqa: S105  # the name of a variable
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound to


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip app`."""
    parser.add_argument("folder", help="folder of images to search")
    add_store_options(parser)
    parser.add_argument("--watch", action="store_true", help="follow the folder: what is added can be found at once")
    parser.add_argument("--no-index", action="store_true", help="show what is indexed, without looking for changes")
    parser.add_argument("--no-browser", action="store_true", help="open no browser, only say the address")
    parser.add_argument("--quiet", action="store_true", help="no notes on stderr")
    group = parser.add_argument_group("address and access")
    add_access_options(group, port=DEFAULT_PORT, token_variable=TOKEN_VARIABLE)
    add_model_options(parser, model=None)
    parser.epilog = "Stop it with Ctrl-C. Nothing in the folder is ever changed."


def run(args: argparse.Namespace) -> int:
    """Show the folder until interrupted."""
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        require_extra(package, extra="app", purpose="jina-clip app")
    out = Output(quiet=args.quiet)
    settings = build_settings(args, os.environ)
    # The port first: one that is taken shows at once, and not after the model was loaded.
    with open_socket(args.host, args.port) as listening, open_collection(args) as collection:
        from ..app import create_app

        app = create_app(collection, settings)
        address = page_address(args.host, listening.getsockname()[1], settings.token)
        out.line(f"{collection.root} is at {address}")
        out.note("stop with Ctrl-C")
        if not args.no_browser and has_browser(os.environ):
            open_browser(address)
        serve(make_http_server(app), listening)
    return OK


def build_settings(args: argparse.Namespace, environment: Mapping[str, str]) -> AppSettings:
    """The settings of these options. Raises `ConfigurationError`."""
    loopback = is_loopback(args.host)
    return AppSettings(
        token=choose_token(args, environment, TOKEN_VARIABLE),
        loopback_only=loopback,
        host_names=tuple(args.allow_host) if loopback else (*_bound_name(args.host), *args.allow_host),
        index=not args.no_index,
        watch=args.watch,
    )


def _bound_name(host: str) -> tuple[str, ...]:
    """The name that `--host` gives, if it is one; addresses are allowed in any case."""
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return (host,)
    return ()


def page_address(host: str, port: int, token: str | None) -> str:
    """The address to open. The token stands behind the `#`, which a browser sends to nobody."""
    shown = "127.0.0.1" if host in ANY_ADDRESS else host
    return f"http://{url_host(shown)}:{port}/" + (f"#token={token}" if token else "")


def has_browser(environment: Mapping[str, str]) -> bool:
    """Whether somebody sits before this machine with a browser: no terminal's one, and none at the end of an SSH."""
    if environment.get("BROWSER"):
        return True
    if environment.get("SSH_CONNECTION") or environment.get("CI"):
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def open_browser(address: str) -> None:
    """Have the system open the address, without waiting for it: some of its ways end only with the browser."""
    threading.Thread(target=webbrowser.open, args=(address,), name="jina-clip-browser", daemon=True).start()
