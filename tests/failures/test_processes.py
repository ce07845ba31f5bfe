"""Forks, the end of the interpreter and clocks that jump: it works or says why not, without a hang or noise."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations import ApiBackend, JinaClipEncoder, LocalBackend
from jina_clip_integrations.cache import DiskCache
from tests.failures.test_kills import keys_of, row_of
from tests.failures.victims import start
from tests.fakes import KINDS
from tests.faulty_server import KEY, FaultyServer, Refuse

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

# Everything that forks does so in a process of its own: packages that other tests have loaded into this one start
# threads and hold locks of theirs across a fork.


def in_clean_process(work: Callable[..., None], *arguments: Any) -> None:
    """Run a test's body there; its failure is this test's."""
    with start(work, *arguments) as victim:
        assert victim.finish(120) == []


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked child, or the error it raised there."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if not child:
        try:
            sending.send(work())
        except BaseException as error:
            sending.send(error)
        os._exit(0)
    assert receiving.poll(60), "the forked child hangs"
    result = receiving.recv()
    os.waitpid(child, 0)
    return result


def fork_encoder(kind: str, cache: Path) -> None:
    encoder = JinaClipEncoder(backend=KINDS[kind](cache_identity="x"), cache=cache)
    texts = [f"text {n}" for n in range(20)]
    expected = encoder.encode_text(texts)
    for number in range(3):
        new = [f"{number} {text}" for text in texts]
        rows = in_child(lambda new=new: (encoder.encode_text(texts), in_child(lambda: encoder.encode_text(new))))
        np.testing.assert_array_equal(rows[0], expected)
        np.testing.assert_array_equal(rows[1], encoder.encode_text(new))
    assert encoder.usage.cache_hits == 60  # what children of children computed is in the cache of all
    encoder.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_used_encoder_in_forked_children(kind: str, tmp_path: Path) -> None:
    """With a cache on disk, children of children, and the parent going on in between."""
    in_clean_process(fork_encoder, kind, tmp_path)


def fork_local_model(folder: Path) -> None:
    with JinaClipEncoder(backend=LocalBackend(folder, device="cpu", dtype="float32")) as encoder:
        expected = encoder.encode_text(["a", "b"])
        np.testing.assert_allclose(in_child(lambda: encoder.encode_text(["a", "b"])), expected, atol=1e-5)
        np.testing.assert_array_equal(encoder.encode_text(["a", "b"]), expected)


def test_a_used_local_model_in_a_forked_child(golden_folder: Path) -> None:
    in_clean_process(fork_local_model, golden_folder)


def fork_client() -> None:
    with FaultyServer() as server:
        backend = ApiBackend("jina-clip-v2", base_url=server.url, api_key=KEY)
        with JinaClipEncoder(backend=backend) as encoder:
            expected = encoder.encode_text(["a", "b"])
            np.testing.assert_array_equal(in_child(lambda: encoder.encode_text(["a", "b"])), expected)
            np.testing.assert_array_equal(encoder.encode_text(["a", "b"]), expected)


def test_a_used_client_in_a_forked_child() -> None:
    in_clean_process(fork_client)


def fork_beside_a_writer(folder: Path) -> None:
    cache = DiskCache(folder)
    row_of("before")  # imports numpy.random: a fork in the middle of an import hangs, whoever's it is

    def write(batch: int) -> None:
        cache.set_many({key: row_of(key) for key in keys_of(batch)})

    with ThreadPoolExecutor(1) as writer:
        writing = [writer.submit(write, batch) for batch in range(200)]
        for number in range(10):
            found = in_child(lambda number=number: (write(1000 + number), len(cache.get_many(keys_of(1000)))))
            assert found == (None, len(keys_of(0)))
        for future in writing:
            future.result()
    for batch in (*range(200), *range(1000, 1010)):
        assert len(cache.get_many(keys_of(batch))) == len(keys_of(0))
    cache.close()


def test_a_fork_while_another_thread_writes_to_the_cache(tmp_path: Path) -> None:
    """SQLite keeps the locks of a process in memory, which a child would inherit for ever."""
    in_clean_process(fork_beside_a_writer, tmp_path)


# The end of the interpreter

PROLOGUE = """
import asyncio, atexit, sys, threading, time
import numpy as np
from jina_clip_integrations import JinaClipEncoder
from tests.fakes import KINDS, SlowBackend
"""

ENDINGS = {
    "an open encoder": """
encoder = JinaClipEncoder(backend=KINDS["blocking"](cache_identity="x"), cache=sys.argv[1])
encoder.encode_text(["a", "b"])
""",
    "an open background loop": """
encoder = JinaClipEncoder(backend=KINDS["awaitable"](), cache=sys.argv[1])
encoder.encode_text(["a", "b"])
""",
    "a generator that was not read to its end": """
encoder = JinaClipEncoder(backend=KINDS["streaming"]())
rows = encoder.iter_encode([{"text": "a"}] * 100, chunk_size=2)
next(rows)
""",
    "an asynchronous generator that was not read to its end": """
async def main():
    encoder = JinaClipEncoder(backend=KINDS["streaming"]())
    async for rows in encoder.aiter_encode([{"text": "a"}] * 100, chunk_size=2):
        break
asyncio.run(main())
""",
    "a call in a daemon thread": """
encoder = JinaClipEncoder(backend=SlowBackend(pause_s=20))
threading.Thread(target=encoder.encode_text, args=(["a"],), daemon=True).start()
time.sleep(0.1)
""",
    "a call in a daemon thread on the background loop": """
backend = KINDS["awaitable"]()
async def slow(batch):
    await asyncio.sleep(20)
backend.aembed = slow
encoder = JinaClipEncoder(backend=backend)
threading.Thread(target=encoder.encode_text, args=(["a"],), daemon=True).start()
time.sleep(0.1)
""",
    "an image under way": """
from PIL import Image
encoder = JinaClipEncoder(backend=SlowBackend(pause_s=0), cache=sys.argv[1])
encoder.encode_image([Image.new("RGB", (8, 8), (n, 0, 0)) for n in range(300)])
""",
    "sys.exit in the middle": """
backend = KINDS["blocking"]()
backend.before = lambda batch: sys.exit(0)
JinaClipEncoder(backend=backend).encode_text(["a"])
""",
    "an encoder in a global of a class that is torn down": """
class Holder:
    encoder = JinaClipEncoder(backend=KINDS["awaitable"](), cache=sys.argv[1])
    def __del__(self):
        self.encoder.close()
holder = Holder()
holder.encoder.encode_text(["a"])
""",
    "a local model": """
from pathlib import Path
encoder = JinaClipEncoder("tests/golden/v1", backend="local", device="cpu")
encoder.encode_text(["a"])
""",
    "a client of a server that does not answer": """
import socket
listening = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
encoder = JinaClipEncoder("x", backend="api", base_url=url, dimensions=8)
threading.Thread(target=encoder.encode_text, args=([f"{n}" for n in range(2000)],), daemon=True).start()
time.sleep(0.3)
listening.detach()  # open to the end
""",
}


def run_to_its_end(name: str, folder: Path) -> tuple[str, int, str, float]:
    """Exit code, everything that was written, and seconds of an interpreter of its own."""
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROLOGUE + ENDINGS[name] + "\nprint('end of program', flush=True)", folder],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default::ResourceWarning:__main__"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return name, ran.returncode, ran.stdout.replace("end of program\n", "") + ran.stderr, time.monotonic() - started


def test_the_end_of_the_interpreter(tmp_path: Path) -> None:
    """Whatever is open or under way: the process ends, with 0, and writes nothing."""
    with ThreadPoolExecutor(2) as pool:
        for name, code, said, _ in pool.map(lambda name: run_to_its_end(name, tmp_path / name), ENDINGS):
            assert (name, code, said) == (name, 0, "")


# Clocks


@pytest.mark.parametrize("jump_s", [-1e8, 1e8])
def test_a_clock_that_jumps(monkeypatch: pytest.MonkeyPatch, jump_s: float, tmp_path: Path) -> None:
    """Limits, waits and caches go by the monotonic clock; a `Retry-After` date is believed within the usual ceiling."""
    with FaultyServer() as server:
        backend = ApiBackend(
            "jina-clip-v2", base_url=server.url, api_key=KEY, requests_per_minute=600, tokens_per_minute=1_000_000
        )
        with JinaClipEncoder(backend=backend, cache=DiskCache(tmp_path)) as encoder:
            before = encoder.encode_text(["a"])
            true_time = time.time
            monkeypatch.setattr(time, "time", lambda: true_time() + jump_s)
            np.testing.assert_array_equal(encoder.encode_text(["a", "b", "c"])[0], before[0])
            monkeypatch.setattr(time, "time", true_time)
            np.testing.assert_array_equal(encoder.encode_text(["a", "d"])[0], before[0])
            # A date of a server whose clock is off by years: of the past it is no wait, of the future too long a one.
            server.faults.append(
                Refuse(503, headers={"Retry-After": formatdate(true_time() - abs(jump_s), usegmt=True)})
            )
            assert encoder.encode_text(["e"]).shape == (1, 1024)


def test_files_of_another_time_are_still_known(tmp_path: Path) -> None:
    """`index` compares times for being the same, never for being later."""
    from jina_clip_integrations.collections.scan import read_stamp

    file = tmp_path / "a.txt"
    file.write_text("a", encoding="utf-8")
    stamps = []
    for when in (0, 2**33, 1_000_000_000):
        os.utime(file, (when, when))
        stamps.append(read_stamp(file))
    assert not any(one.is_unchanged(other) for one, other in itertools.pairwise(stamps))
    assert read_stamp(file).is_unchanged(stamps[-1])
