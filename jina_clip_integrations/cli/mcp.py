"""`jina-clip mcp`: a folder of images for agents, over the Model Context Protocol."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from ..collections.scan import resolve_folder
from ..credentials import url_host
from ..errors import BackendError, require_extra
from ..images.sources import SourcePolicy
from ..printable import printable_text
from ..settings import DEFAULT_MODEL
from . import served_folder
from .messages import OK
from .options import add_model_options, positive_int
from .output import Output
from .serve import open_socket, serve
from .served_folder import add_access_options, add_store_options, choose_token, make_http_server

if TYPE_CHECKING:
    from ..collections.folder import FolderCollection
    from ..mcp import CollectionSource
    from ..mcp.server import ImageSearchServer

DEFAULT_PORT = 8791
TOKEN_VARIABLE = "JINA_CLIP_MCP_TOKEN"  # noqa: S105  # the name of a variable


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip mcp`."""
    parser.add_argument("folder", help="folder of images, all that an agent can reach")
    add_store_options(parser)
    parser.add_argument("--no-index", action="store_true", help="serve what is indexed, without looking for changes")
    parser.add_argument("--allow-embed", action="store_true", help="offer a tool that hands out vectors, too")
    parser.add_argument(
        "--max-calls",
        type=positive_int,
        default=120,
        metavar="N",
        help="calls per minute, of all clients (default: 120)",
    )
    parser.add_argument("--quiet", action="store_true", help="no notes on stderr")
    _add_http_options(parser)
    add_model_options(parser, model=None)
    parser.epilog = "Without --http it speaks on stdin and stdout, as hosts start it. Nothing in the folder is changed."


def _add_http_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("streamable HTTP")
    group.add_argument("--http", action="store_true", help="serve over HTTP instead, for several clients at a time")
    add_access_options(group, port=DEFAULT_PORT, token_variable=TOKEN_VARIABLE)


def run(args: argparse.Namespace) -> int:
    """Serve until the host closes the connection, or until interrupted."""
    require_extra("mcp", extra="mcp", purpose="jina-clip mcp")
    out = Output(quiet=args.quiet)
    log_to_stderr()
    if args.http:
        serve_http(args, out)
    else:
        with closing(open_source(args, out)) as source:
            make_server(args, source, token=None).run("stdio")
    return OK


def serve_http(args: argparse.Namespace, out: Output) -> None:
    """Serve over HTTP until interrupted."""
    from ..mcp.http import PATH, create_http_app

    token = choose_token(args, os.environ, TOKEN_VARIABLE)
    # The port first: one that is taken shows at once, and not after the model was loaded.
    with open_socket(args.host, args.port) as listening, closing(open_source(args, out)) as source:
        app = create_http_app(make_server(args, source, token=token), host=args.host, allow_hosts=args.allow_host)
        out.note(f"serving at http://{url_host(args.host)}:{listening.getsockname()[1]}{PATH} (stop with Ctrl-C)")
        if token is not None and not os.environ.get(TOKEN_VARIABLE):
            print(f"clients send: Authorization: Bearer {token}", file=sys.stderr)  # with --quiet, too
        serve(make_http_server(app), listening)


def open_source(args: argparse.Namespace, out: Output) -> CollectionSource:
    """The folder's collection, opened if that is possible now.

    Raises what cannot get better by waiting: a bad folder, model or setting. A store that another program has open, or
    a service that does not answer, is tried again by every call.
    """
    from ..mcp import CollectionSource

    root = resolve_folder(args.folder)
    source = CollectionSource(root, lambda: open_collection(args), index=not args.no_index)
    try:
        source.get()
    except BackendError as error:
        hint = "; to serve several hosts, start one server with --http" if "in use" in error.message else ""
        out.warn(f"{error}{hint}")
    except BaseException:
        source.close()
        raise
    return source


def open_collection(args: argparse.Namespace) -> FolderCollection:
    """The folder's collection, with the model that its store was made with unless an option names one."""
    # Names of images come from an agent: only files of the folder, and no address is fetched.
    return served_folder.open_collection(args, sources=SourcePolicy.agent(resolve_folder(args.folder), schemes=()))


def make_server(args: argparse.Namespace, source: CollectionSource, *, token: str | None) -> ImageSearchServer:
    """The server with these options."""
    from ..backends.registry import find_backend
    from ..mcp import McpSettings, create_server
    from .options import choose_backend

    settings = McpSettings(allow_embed=args.allow_embed, max_calls_per_minute=args.max_calls)
    chosen = choose_backend(args.backend, args.model or DEFAULT_MODEL)
    leaves = not (isinstance(chosen, str) and find_backend(chosen).runs_here)
    return create_server(source, settings, token=token, open_world=leaves)


class PrintableFormatter(logging.Formatter):
    """What clients wrote, such as names of files and tools, acts on no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, its line breaks as they are."""
        return printable_text(super().format(record))


def log_to_stderr() -> None:
    """Warnings and errors of all packages go to stderr: stdout is the protocol's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
