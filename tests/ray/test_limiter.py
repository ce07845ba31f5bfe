"""One account for several workers: real actors, a real HTTP server that counts, workers that are really killed."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations import ApiBackend
from jina_clip_integrations.errors import BackendError, BudgetExceededError, ConfigurationError
from jina_clip_integrations.ray import AccountLimits, RayLimiter
from jina_clip_integrations.settings import RetryPolicy
from tests.backends.remote.faces import embed, numbered, texts
from tests.faulty_server import KEY, FaultyServer, vector_of, vectors_of

WINDOW_S = 1.0


class CountingServer(FaultyServer):
    """Notes when a request came and what it cost."""

    def __init__(self, **modes: Any) -> None:
        super().__init__(**modes)
        self.counted: list[tuple[float, int]] = []

    def answer(self, headers: Any, raw: bytes) -> Any:
        came_at, before = time.monotonic(), len(self.counted)
        answer = super().answer(headers, raw)
        assert isinstance(answer.body, dict)
        tokens = answer.body.get("usage", {}).get("total_tokens", 0)
        self.counted.append((came_at, tokens))
        assert before <= len(self.counted)
        return answer

    def most(self, window_s: float) -> tuple[int, int]:
        """Requests and tokens of the fullest window, each."""
        windows = [[tokens for at, tokens in self.counted if end - window_s < at <= end] for end, _ in self.counted]
        return max(map(len, windows)), max(map(sum, windows))


class Worker:
    """What an actor of a job does: embeds texts through a backend of its own."""

    def __init__(self, url: str, limiter: RayLimiter, **options: Any) -> None:
        retry = RetryPolicy(first_wait_s=0.001, longest_wait_s=0.005)
        self.backend = ApiBackend(
            "jina-clip-v2", api_key=KEY, base_url=url, retry=retry, timeout=20.0, shared_limits=limiter, **options
        )

    def embed(self, face: str, words: list[str]) -> Any:
        try:
            return embed(face, self.backend, texts(*words)).vectors
        except BudgetExceededError as error:
            return error

    def spent(self) -> int:
        return self.backend.tokens_spent


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


@pytest.fixture
def limiter_of(ray_driver: Any) -> Iterator[Callable[..., RayLimiter]]:
    """Limiters that end with the test."""
    made: list[RayLimiter] = []

    def make(**limits: Any) -> RayLimiter:
        made.append(RayLimiter(**limits))
        return made[-1]

    yield make
    for limiter in made:
        limiter.close()


@pytest.fixture
def workers_of(ray_driver: Any, server: CountingServer) -> Iterator[Callable[..., list[Any]]]:
    """Actors that end with the test."""
    made: list[Any] = []

    def make(count: int, limiter: RayLimiter, **options: Any) -> list[Any]:
        remote = ray_driver.remote(Worker).options(num_cpus=0)
        made.extend(remote.remote(server.url, limiter, **options) for _ in range(count))
        return made[-count:]

    yield make
    for actor in made:
        ray_driver.kill(actor)


def words(worker: int, count: int) -> list[str]:
    return [f"text {n} of worker {worker}" for n in range(count)]


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_no_minute_of_the_account_is_overdrawn(
    ray_driver: Any, server: CountingServer, limiter_of: Any, workers_of: Any
) -> None:
    limiter = limiter_of(requests_per_minute=6, tokens_per_minute=60, window_s=WINDOW_S)
    workers = workers_of(3, limiter, batch_size=2)
    faces = ("sync", "async", "sync")
    asked = [
        worker.embed.remote(face, words(n, 10)) for n, (worker, face) in enumerate(zip(workers, faces, strict=True))
    ]
    for n, vectors in enumerate(ray_driver.get(asked, timeout=60)):
        np.testing.assert_array_equal(vectors, vectors_of(words(n, 10)))
    requests, tokens = server.most(WINDOW_S)
    assert len(server.counted) == 15
    assert (requests, tokens) <= (6, 60)
    assert tokens <= 60
    assert requests >= 2  # several at once all the same
    assert limiter.state()["tokens_spent"] == sum(cost for _, cost in server.counted)


@pytest.mark.parametrize("factor", [1, 0.5])
def test_the_budget_holds_for_all_workers_together(
    ray_driver: Any, server: CountingServer, limiter_of: Any, workers_of: Any, factor: float
) -> None:
    """Every text has 7 tokens, and 25 as an upper bound; the server counts them, or half of them."""
    server.tokens_factor = factor
    limiter = limiter_of(token_budget=150, tokens_spent=20)
    workers = workers_of(3, limiter, batch_size=2)
    answers = ray_driver.get(
        [worker.embed.remote("sync", words(n, 12)) for n, worker in enumerate(workers)], timeout=60
    )
    assert any(isinstance(answer, BudgetExceededError) for answer in answers)
    spent = sum(ray_driver.get([worker.spent.remote() for worker in workers]))
    assert 0 < spent <= 130
    assert limiter.state()["tokens_spent"] == 20 + spent
    for n, answer in enumerate(answers):
        if isinstance(answer, BudgetExceededError):
            assert "raise token_budget or send less" in str(answer)
            # What was paid for is not lost.
            done = ~np.isnan(answer.partial).any(axis=1)
            np.testing.assert_array_equal(answer.partial[done], vectors_of(words(n, 12))[done])


def test_a_killed_worker_gives_its_share_back(
    ray_driver: Any, server: CountingServer, limiter_of: Any, workers_of: Any
) -> None:
    limiter = limiter_of(max_concurrency=1, token_budget=1000, lease_s=1.0)
    victim, heir = workers_of(2, limiter, batch_size=1)
    server.latency_s = 60.0
    victim.embed.remote("sync", words(0, 3))  # one under way, one that queues
    until(lambda: server.in_flight == 1 and limiter.state()["requests_waiting"] == 1)
    ray_driver.kill(victim)
    server.latency_s = 0.0
    np.testing.assert_array_equal(
        ray_driver.get(heir.embed.remote("async", ["another"]), timeout=30), vectors_of(["another"])
    )
    state = limiter.state()
    assert state["requests_lost"] == 2
    # The request under way may be billed; the one that queued was not sent.
    assert state["tokens_spent"] == len(words(0, 1)[0]) + 3 + 3
    assert (state["requests_under_way"], state["requests_waiting"]) == (0, 0)


def test_who_gives_up_waiting_takes_no_turn(server: CountingServer, limiter_of: Any) -> None:
    limiter = limiter_of(max_concurrency=1)
    held = limiter.ask(1, 1).result(20)
    worker = Worker(server.url, limiter)

    async def give_up() -> None:
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(worker.backend.aembed(texts("a")), 0.1)

    asyncio.run(give_up())
    limiter.cancel(held.key)
    until(lambda: set(limiter.state().values()) == {0})
    assert server.counted == []
    with ThreadPoolExecutor() as pool:
        got = list(pool.map(lambda word: worker.backend.embed(texts(word)).vectors[0], "abcd"))
    np.testing.assert_array_equal(got, [vector_of(word) for word in "abcd"])
    assert server.most_in_flight == 1


def test_what_the_service_says_is_heard_by_all(server: CountingServer, limiter_of: Any, workers_of: Any) -> None:
    limiter = limiter_of(window_s=WINDOW_S)
    server.headers = {"x-ratelimit-remaining-requests": "0"}
    Worker(server.url, limiter).backend.embed(texts("a"))
    server.headers = {}
    before = server.counted[0][0]
    Worker(server.url, pickle.loads(pickle.dumps(limiter))).backend.embed(texts("b"))
    assert server.counted[1][0] - before >= 0.9 * WINDOW_S  # its minute began with the answer


def test_a_limiter_that_is_gone_is_an_error_that_says_what_to_do(server: CountingServer, limiter_of: Any) -> None:
    limiter = limiter_of(token_budget=100)
    limiter.close()
    with pytest.raises(
        BackendError, match=r"limiter of this account is gone .* Make a new RayLimiter, with tokens_spent="
    ):
        Worker(server.url, limiter).backend.embed(texts("a"))
    with pytest.raises(BackendError, match="is gone"):
        limiter.state()
    assert server.counted == []


def test_a_name_leads_every_job_to_one_limiter(limiter_of: Any) -> None:
    first = limiter_of(name="account", token_budget=100)
    held = first.ask(10, 10).result(20)
    first.settle(held.key, 7)
    again = limiter_of(name="account", token_budget=100)
    until(lambda: again.state()["tokens_spent"] == 7)
    with pytest.raises(ConfigurationError, match=r"'account' exists with token_budget=100 and not 5; .* another name"):
        RayLimiter(name="account", token_budget=5)


def test_settings_that_cannot_be(ray_driver: Any) -> None:
    for wrong in ({"token_budget": -1}, {"requests_per_minute": 0}, {"max_concurrency": 1.5}, {"window_s": 0}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            AccountLimits(**wrong)
    with pytest.raises(ConfigurationError, match="token_budget is given beside shared_limits"):
        ApiBackend("m", base_url="http://localhost:1", token_budget=3, shared_limits=_Nothing())
    with pytest.raises(ConfigurationError, match="shared_limits must be a limiter, not str"):
        ApiBackend("m", base_url="http://localhost:1", shared_limits="account")


class _Nothing:
    def ask(self, tokens: int, max_tokens: int) -> None: ...


def test_requests_fit_the_minute_of_the_account(server: CountingServer, limiter_of: Any) -> None:
    limiter = limiter_of(tokens_per_minute=30, window_s=0.2)
    Worker(server.url, limiter, batch_size=100).backend.embed(numbered(9))
    assert max(len(json.dumps(body["input"])) for body in server.requests) < 200
    assert len(server.requests) > 1
