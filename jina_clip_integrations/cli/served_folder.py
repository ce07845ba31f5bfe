"""What `jina-clip app` and `jina-clip mcp` have in common: a folder's collection, served over HTTP behind a token."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..collections.store import DEFAULT_COLLECTION
from ..credentials import is_loopback, unquote
from ..settings import DEFAULT_MODEL
from .options import address_options, open_encoder
from .search import adopt_settings
from .serve import BACKLOG, KEEP_ALIVE_S, port_number

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

    from ..collections.folder import FolderCollection
    from ..collections.identity import CollectionModel
    from ..encoder import JinaClipEncoder

DEFAULT_HOST = "127.0.0.1"
STOP_S = 5
"""How long requests in progress have once the server was told to stop, in seconds."""


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """`--store` and `--collection`."""
    parser.add_argument(
        "--store", metavar="PATH", help="folder of the store, or URL of a Qdrant server (default: in the user's cache)"
    )
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="collection in it (default: %(default)s)")


def add_access_options(group: argparse._ArgumentGroup, *, port: int, token_variable: str) -> None:
    """`--host`, `--port`, `--token` and `--allow-host`."""
    group.add_argument("--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST})")
    group.add_argument("--port", type=port_number, default=port, help=f"0 picks a free one (default: {port})")
    group.add_argument(
        "--token",
        action="store_true",
        help=f"ask for a token on this machine too; elsewhere always (your own one: in {token_variable})",
    )
    group.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="answer to this host name too; repeatable"
    )


def choose_token(args: argparse.Namespace, environment: Mapping[str, str], variable: str) -> str | None:
    """The token to ask for: the user's own in `variable`, else a new one where `--token` or the address wants one."""
    # In a variable and not in an option, which every user of the machine could read in the list of processes.
    own = unquote(environment.get(variable, "")).strip()
    if own:
        return own
    return secrets.token_urlsafe(24) if args.token or not is_loopback(args.host) else None


def open_collection(args: argparse.Namespace, **options: Any) -> FolderCollection:
    """The folder's collection, with the model that its store was made with unless an option names one.

    `options` of the encoder are added to those of the command line.
    """
    from ..collections.folder import FolderCollection

    def make_encoder(held: CollectionModel | None) -> JinaClipEncoder:
        if held is not None:
            adopt_settings(args, held)
        args.model = args.model or DEFAULT_MODEL
        return open_encoder(args, **options)

    return FolderCollection.open(
        args.folder,
        encoder=make_encoder,
        store=args.store,
        collection=args.collection,
        backend=args.backend,
        address=address_options(args),
    )


def make_http_server(app: Starlette) -> uvicorn.Server:
    """The HTTP server for `app`."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
    )
