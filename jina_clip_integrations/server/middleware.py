"""ASGI middleware of every request: id, duration, an access log without payloads, and a 500 for any failure."""

from __future__ import annotations

import logging
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import describe_for_log, internal_error, logger
from .metrics import Metrics
from .request_body import ClientDisconnectedError
from .responses import new_id

access = logging.getLogger("jina_clip_integrations.server.access")

REQUEST_ID = "jina_clip.request_id"
STARTED_S = "jina_clip.started_s"
ERROR_CODE = "jina_clip.error_code"
"""Keys in a request's ASGI scope: its id, when it arrived, and the code of the error response."""

CLIENT_CLOSED_REQUEST = 499
"""Status in logs and metrics where the client disconnected before the response, as in nginx."""

UNKNOWN_ROUTE = "other"
"""Route in logs and metrics of a path without one. Paths would be payloads, and a label value each."""


class RequestMiddleware:
    """ASGI middleware. Not a `BaseHTTPMiddleware` of Starlette, which would hide that a client has disconnected."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; scopes of other types pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = new_id()
        scope[STARTED_S] = time.monotonic()
        responded = False

        async def send_with_id(message: Message) -> None:
            nonlocal responded
            if message["type"] == "http.response.start":
                responded = True
                message["headers"] = [*message["headers"], (b"x-request-id", scope[REQUEST_ID].encode())]
                self._record(scope, message["status"])  # before sending: the client's next request may read the metrics
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnectedError:
            self._record(scope, CLIENT_CLOSED_REQUEST)
        except Exception as error:
            logger.error("request %s failed: %s", scope[REQUEST_ID], describe_for_log(error))
            if not responded:  # after the start of a response nothing can replace it
                failure = internal_error()
                scope[ERROR_CODE] = failure.code
                await JSONResponse(failure.body(scope[REQUEST_ID]), failure.status)(scope, receive, send_with_id)

    def _record(self, scope: Scope, status: int) -> None:
        seconds = time.monotonic() - scope[STARTED_S]
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        self._metrics.count_response(route, status, seconds)
        if ERROR_CODE in scope:
            self._metrics.count_error(scope[ERROR_CODE])
        access.info(
            "%s %s %d %.1f ms %s %s",
            scope["method"], route, status, seconds * 1000, scope[REQUEST_ID], scope.get(ERROR_CODE, "-"),
        )  # fmt: skip
