"""Spans of the image methods. The base class opens none, and one around the raw argument would record the image."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from .instrumentation import dispatcher

Method = TypeVar("Method", bound=Callable[..., Any])


def image_span(understand: Callable[[Any, Any], Any]) -> Callable[[Method], Method]:
    """Open a span around an image method that sees images, which show only a short name, not what was given.

    `understand(owner, images)` makes the images of the method's first argument.
    """

    def decorate(method: Method) -> Method:
        spanned: Any = dispatcher.span(method)
        signature = inspect.signature(method)
        first = list(signature.parameters)[1]

        def call(*args: Any, **options: Any) -> Any:
            arguments = signature.bind(*args, **options).arguments
            owner = arguments.pop("self")
            return spanned.__get__(owner)(understand(owner, arguments.pop(first)), **arguments)

        async def acall(*args: Any, **options: Any) -> Any:
            return await call(*args, **options)

        traced = acall if inspect.iscoroutinefunction(method) else call
        return cast(Method, functools.wraps(method)(traced))

    return decorate
