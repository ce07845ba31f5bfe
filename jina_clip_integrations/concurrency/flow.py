"""One way to write work that waits, and the only two ways of waiting for it: blocking and awaiting.

A flow is a generator that decides everything and waits for nothing. It yields steps; a driver performs each of them and
sends its result back, or raises inside the flow what the step raised. So every protocol with waits in it (a call of the
encoder, a request with its retries, a hook of a framework) is written once for the sync and the async methods, and
tests can feed a flow by hand, without a thread, a clock or an event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from .loops import running_loop

R = TypeVar("R")


class Step(Protocol):
    """Something to wait for."""

    def perform(self) -> Any:
        """Wait in this thread and return the result."""

    async def aperform(self) -> Any:
        """Return the result without blocking the event loop."""


Flow: TypeAlias = Generator[Step, Any, R]
"""Yields steps, is sent their results, and returns an `R`."""


@dataclass(frozen=True)
class Call:
    """A step made of two functions that do the same."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]

    def perform(self) -> Any:
        """The result of `call`."""
        return self.call()

    async def aperform(self) -> Any:
        """The awaited result of `acall`."""
        return await self.acall()


def drive(flow: Flow[R]) -> R:
    """Perform the steps of `flow`, blocking, and return what it returns. Raises what it raises."""
    result: Any = None
    failure: BaseException | None = None
    while True:
        try:
            step = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as done:
            returned: R = done.value
            return returned
        result = failure = None  # results may be large: none is kept alive during the next step
        try:
            result = step.perform()
        except BaseException as raised:  # KeyboardInterrupt too: the flow has to release what it holds
            failure = raised


async def adrive(flow: Flow[R]) -> R:
    """Perform the steps of `flow`, awaiting, and return what it returns. Raises what it raises.

    Raises `ConfigurationError` without an asyncio loop, before the flow has begun.
    """
    running_loop()
    result: Any = None
    failure: BaseException | None = None
    while True:
        try:
            step = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as done:
            returned: R = done.value
            return returned
        result = failure = None
        try:
            result = await step.aperform()
        except BaseException as raised:  # a cancellation too, for the same reason
            failure = raised
