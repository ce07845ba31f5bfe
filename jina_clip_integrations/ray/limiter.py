"""One account for a whole cluster: an actor that hands out turns, and what a worker holds of it.

The actor has the arithmetic of `backends/remote/limits/turns.py` and a clock; workers ask it for a turn before every
request and tell it what the request cost. They call the roll with it: a worker that is not heard of any more loses its
turns to the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from ..backends.remote.limits import Limits, Reservation, Turn
from ..backends.remote.limits.rate import WINDOW_S
from ..backends.remote.limits.turns import MISSED, Refusal, Turns
from ..concurrency.loops import start_in_background_loop
from ..errors import BackendError, ConfigurationError, JinaClipError
from ..settings import require_integer, require_number

NAMESPACE = "jina-clip"
"""Where limiters with a name are found, whatever namespace a job has."""

LEASE_S = 10.0
"""Seconds after which a worker that is not heard of has lost its turns."""

MOST_WAITING = 100_000
"""Requests that may queue at the actor at once."""


@dataclass(frozen=True, kw_only=True)
class AccountLimits:
    """What an account may do, all workers of all its jobs together. None = no limit but what the service says."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    token_budget: int | None = None
    """Tokens that all together may spend while the limiter lives. Never exceeded: a request is sent only if its upper
    bound fits, and one whose worker died counts as its upper bound."""
    tokens_spent: int = 0
    """Tokens of the budget that were spent before, by an earlier run."""
    max_concurrency: int | None = None
    """Requests under way at once."""
    window_s: float = WINDOW_S
    """What the service means by a minute, in seconds."""
    lease_s: float = LEASE_S
    """Seconds until a worker that is not heard of has lost its turns."""

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute", "max_concurrency"):
            if getattr(self, name) is not None:
                require_integer(name, getattr(self, name), minimum=1)
        if self.token_budget is not None:
            require_integer("token_budget", self.token_budget, minimum=0)
        require_integer("tokens_spent", self.tokens_spent, minimum=0)
        require_number("window_s", self.window_s, minimum=0.001)
        require_number("lease_s", self.lease_s, minimum=0.1)


class LimiterActor:
    """The limits of one account; lives in an actor. All methods run on its event loop."""

    def __init__(self, account: AccountLimits) -> None:
        self._account = account
        limits = Limits(
            max_concurrency=1,  # not used: `Turns` counts
            requests_per_minute=account.requests_per_minute,
            tokens_per_minute=account.tokens_per_minute,
            token_budget=account.token_budget,
            tokens_spent=account.tokens_spent,
            window_s=account.window_s,
        )
        self._turns = Turns(limits, max_concurrency=account.max_concurrency)
        self._answers: dict[str, asyncio.Future[Refusal | None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._roll: asyncio.Task[None] | None = None
        self._lost = 0

    async def account(self) -> AccountLimits:
        """What it was made with."""
        return self._account

    async def ask(self, key: str, tokens: int, max_tokens: int) -> Refusal | bool:
        """Wait for a turn. True = it has come, False = it was called off."""
        if self._roll is None:
            self._roll = asyncio.get_running_loop().create_task(self._call_roll())
        self._answers[key] = asyncio.get_running_loop().create_future()
        self._turns.ask(key, tokens, max_tokens)
        self._advance()
        try:
            answer = await self._answers[key]
        except asyncio.CancelledError:
            return False
        finally:
            self._answers.pop(key, None)
        return True if answer is None else answer

    async def start(self, key: str) -> bool:
        """The worker knows of its turn; False if it has lost it since."""
        return self._turns.start(key)

    async def settle(self, key: str, spent: int) -> None:
        """The request is over."""
        self._turns.settle(time.monotonic(), key, spent)
        self._advance()

    async def cancel(self, key: str) -> None:
        """The request will not be sent."""
        self._turns.cancel(key)
        self._drop(key)
        self._advance()

    async def renew(self, keys: list[str]) -> None:
        """The worker that asked for these is alive."""
        self._turns.renew(keys)

    async def learn(self, headers: dict[str, str]) -> None:
        """What the service said is left."""
        self._turns.limits.learn(time.monotonic(), headers)

    async def hold(self, seconds: float) -> None:
        """Let nobody start meanwhile."""
        self._turns.limits.hold(time.monotonic() + seconds)

    async def slow_down(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """A rate that the service named."""
        self._turns.limits.slow_down(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
        self._advance()

    async def state(self) -> dict[str, int]:
        """Figures for people and for a report."""
        turns = self._turns
        return {
            "tokens_spent": self._account.tokens_spent + turns.limits.tokens_spent,
            "requests_under_way": turns.under_way,
            "requests_waiting": turns.waiting,
            "requests_lost": self._lost,
        }

    def _advance(self) -> None:
        """Answer everybody whose turn has come, and look again when the next may come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        decided, wait_s = self._turns.advance(time.monotonic())
        for key, answer in decided.items():
            if (waiting := self._answers.get(key)) is not None and not waiting.done():
                waiting.set_result(answer)
        if math.isfinite(wait_s):
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._advance)

    def _drop(self, key: str) -> None:
        if (waiting := self._answers.get(key)) is not None:
            waiting.cancel()

    async def _call_roll(self) -> None:
        while True:
            await asyncio.sleep(self._account.lease_s / (MISSED + 1))
            if lost := self._turns.call_roll(time.monotonic()):
                self._lost += len(lost)
                for key in lost:
                    self._drop(key)
                self._advance()


class RayLimiter:
    """The limits of one account, held by an actor and shared by every worker that has this object or its name.

        limiter = RayLimiter(requests_per_minute=500, tokens_per_minute=1_000_000, token_budget=50_000_000)
        ApiBackend("jina-clip-v2", shared_limits=limiter)      # in any task or actor of the cluster

    Without a name it ends with the job that made it. With one it outlives the job, and every job that makes a limiter
    of that name, with the same limits, gets the same one; `close` ends it.

    Args:
        name: Under which other jobs find it.
        **limits: The fields of `AccountLimits`.

    Raises:
        ConfigurationError: limits that cannot be, no Ray cluster, or a limiter of that name with other limits.
    """

    def __init__(self, *, name: str | None = None, **limits: Any) -> None:
        account = AccountLimits(**limits)
        if not ray.is_initialized():
            raise ConfigurationError("no Ray cluster: call ray.init() first, with address=... for one that runs")
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": MOST_WAITING}
        if name is not None:
            options |= {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
        actor = ray.remote(LimiterActor).options(**options).remote(account)
        self._attach(name, account, actor)
        if name is not None:
            self._check_same(ray.get(actor.account.remote()))

    def _check_same(self, there: AccountLimits) -> None:
        mine, other = asdict(self.account), asdict(there)
        differing = [f"{key}={other[key]!r} and not {mine[key]!r}" for key in mine if mine[key] != other[key]]
        if differing:
            raise ConfigurationError(
                f"a limiter named {self.name!r} exists with {', '.join(differing)}; ask for the same limits, end that "
                "one with its close(), or choose another name"
            )

    def _attach(self, name: str | None, account: AccountLimits, actor: Any) -> None:
        self.name = name
        self.account = account
        self._actor = actor
        self._owner = uuid.uuid4().hex
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._is_beating = False
        self._beating: asyncio.Task[None] | None = None
        self._tokens_left: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (self.name, self.account, self._actor)

    def __repr__(self) -> str:
        return f"RayLimiter(name={self.name!r}, {self.account!r})"

    # What a backend asks of a limiter

    @property
    def tokens_per_minute(self) -> int | None:
        """Tokens that the account may use within a minute."""
        return self.account.tokens_per_minute

    @property
    def token_budget(self) -> int | None:
        """Tokens that all together may spend."""
        return self.account.token_budget

    @property
    def tokens_left(self) -> int | None:
        """What was left of the budget when it last refused a request of this process."""
        return self._tokens_left

    def ask(self, tokens: int, max_tokens: int) -> Future[Turn]:
        """Queue for a turn; the future never fails. Cancelling it gives the turn back, whenever it comes."""
        key = f"{self._owner}-{next(self._count)}"
        future: Future[Turn] = start_in_background_loop(lambda: self._take_turn(key, tokens, max_tokens))

        def give_back(done: Future[Turn]) -> None:
            if done.cancelled():
                self.cancel(key)

        future.add_done_callback(give_back)
        return future

    def settle(self, key: str, spent: int) -> None:
        """The request that had the turn `key` cost this."""
        self._close(key)
        self._tell(lambda: self._actor.settle.remote(key, spent))

    def cancel(self, key: str) -> None:
        """The request that had the turn `key` was not sent."""
        self._close(key)
        self._tell(lambda: self._actor.cancel.remote(key))

    def learn(self, headers: Mapping[str, str]) -> None:
        """What a response said is left of the minute."""
        self._tell(lambda: self._actor.learn.remote(dict(headers)))

    def hold(self, seconds: float) -> None:
        """Let nobody start before these seconds have passed."""
        self._tell(lambda: self._actor.hold.remote(seconds))

    def slow_down(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Keep to a rate that the service named."""
        self._tell(lambda: self._actor.slow_down.remote(requests_per_minute, tokens_per_minute))

    # For people

    def state(self) -> dict[str, int]:
        """`tokens_spent`, `requests_under_way`, `requests_waiting`, `requests_lost` (their workers died).

        Raises `BackendError` if the actor is gone.
        """
        try:
            figures: dict[str, int] = ray.get(self._actor.state.remote())
        except RayError as error:
            raise self._gone(error) from error
        return figures

    def close(self) -> None:
        """End the actor, for everybody. What was spent is forgotten with it."""
        with contextlib.suppress(RayError):
            ray.kill(self._actor)

    # How

    async def _take_turn(self, key: str, tokens: int, max_tokens: int) -> Turn:
        self._watch(key)
        try:
            while True:
                answer = await self._actor.ask.remote(key, tokens, max_tokens)
                if isinstance(answer, Refusal):
                    self._close(key)
                    self._tokens_left = answer.tokens_left
                    return answer.error
                # Held up on the way, the turn may be lost by now, and is then asked for once more.
                if answer and await self._actor.start.remote(key):
                    return Reservation(-math.inf, 0, key=key)
        except RayError as error:
            self._close(key)
            return self._gone(error)

    def _watch(self, key: str) -> None:
        """Let the actor know from time to time that whoever asked is alive."""
        with self._lock:
            self._open.add(key)
            begin, self._is_beating = not self._is_beating, True
        if begin:
            self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.account.lease_s / (MISSED + 1))
            with self._lock:
                keys = list(self._open)
                if not keys:
                    self._is_beating = False
                    return
            with contextlib.suppress(RayError):  # `ask` reports that the actor is gone
                await self._actor.renew.remote(keys)

    def _close(self, key: str) -> None:
        with self._lock:
            self._open.discard(key)

    def _tell(self, send: Callable[[], Any]) -> None:
        with contextlib.suppress(RayError):  # `ask` reports that the actor is gone
            send()

    def _gone(self, error: RayError) -> JinaClipError:
        name = f" {self.name!r}" if self.name else ""
        return BackendError(
            f"the limiter{name} of this account is gone ({type(error).__name__}), and with it the count of tokens "
            "spent; nothing more was sent. Make a new RayLimiter, with tokens_spent= what the account's usage page says"
        )


def _attached(name: str | None, account: AccountLimits, actor: Any) -> RayLimiter:
    """The limiter in another process: the same actor, turns of its own."""
    limiter = RayLimiter.__new__(RayLimiter)
    limiter._attach(name, account, actor)
    return limiter
