"""Both drivers do the same with the same flow: results go in, errors are raised inside, its value comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jina_clip_integrations.concurrency.flow import Call, Flow, adrive, drive


class Answer:
    """A step with a result."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def perform(self) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    async def aperform(self) -> Any:
        await asyncio.sleep(0)
        return self.perform()


def run_async(flow: Flow[Any]) -> Any:
    return asyncio.run(adrive(flow))


both_drivers = pytest.mark.parametrize("run", [drive, run_async], ids=["drive", "adrive"])
Run = Callable[[Flow[Any]], Any]


@both_drivers
def test_results_go_into_the_flow_and_its_value_comes_back(run: Run) -> None:
    def flow() -> Flow[list[int]]:
        first = yield Answer(1)
        second = yield Answer(first + 1)
        return [first, second]

    assert run(flow()) == [1, 2]


@both_drivers
def test_a_flow_without_steps(run: Run) -> None:
    def flow() -> Flow[str]:
        return "done"
        yield

    assert run(flow()) == "done"


@both_drivers
def test_what_a_step_raises_can_be_handled_inside(run: Run) -> None:
    def flow() -> Flow[str]:
        try:
            yield Answer(ValueError("no"))
        except ValueError as error:
            return f"{error}, {(yield Answer('but'))}"
        return "never"

    assert run(flow()) == "no, but"


@both_drivers
def test_what_is_not_handled_is_raised_after_the_flow_has_let_go(run: Run) -> None:
    released = []

    def flow() -> Flow[None]:
        try:
            yield Answer(KeyError("x"))
        finally:
            released.append(True)

    with pytest.raises(KeyError):
        run(flow())
    assert released == [True]


@both_drivers
def test_an_interruption_reaches_the_flow_too(run: Run) -> None:
    released = []

    def flow() -> Flow[None]:
        try:
            yield Answer(KeyboardInterrupt())
        finally:
            released.append(True)

    with pytest.raises(KeyboardInterrupt):
        run(flow())
    assert released == [True]


@both_drivers
def test_the_result_of_a_step_is_not_given_twice(run: Run) -> None:
    def flow() -> Flow[list[Any]]:
        seen = [(yield Answer("first"))]
        try:
            yield Answer(ValueError())
        except ValueError:
            seen.append((yield Answer(None)))
        return seen

    assert run(flow()) == ["first", None]


def test_a_call_blocks_or_is_awaited() -> None:
    async def acall() -> str:
        return "awaited"

    def flow() -> Flow[str]:
        said: str = yield Call(lambda: "blocked", acall)
        return said

    assert drive(flow()) == "blocked"
    assert run_async(flow()) == "awaited"
