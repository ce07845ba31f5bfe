"""Loops that end under a call, programs that end, loops that are not asyncio's: no noise, no foreign error, no hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from jina_clip_integrations import ApiBackend, Batch, JinaClipEncoder, LocalBackend
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.fakes import KINDS, BlockingBackend

ROOT = Path(__file__).parents[2]

TIMED_OUT = """
import asyncio, sys, threading, time
from jina_clip_integrations import JinaClipEncoder
from tests.faulty_server import KEY, FaultyServer

texts = [f"text {number}" for number in range(40)]

def local():
    from jina_clip_integrations.backends.local.engine import Engine
    encoder = JinaClipEncoder("demo", backend="local", batch_size=4)
    encoder.encode_text("warm")
    embed = Engine.embed_ids
    def slowly(self, ids):
        begun.set()
        time.sleep(0.2)
        return embed(self, ids)
    Engine.embed_ids = slowly
    return encoder

def api():
    server = FaultyServer()
    server.__enter__()
    server.faults.extend(["stall"] * 100)
    class Sends(list):
        def append(self, request):
            super().append(request)
            begun.set()
    server.received = Sends()
    return JinaClipEncoder(base_url=server.url, api_key=KEY, batch_size=4)

begun = threading.Event()
encoder = {"local": local, "api": api}[sys.argv[1]]()

async def give_up():
    begun.clear()
    task = asyncio.ensure_future(encoder.aencode_text(texts))
    await asyncio.to_thread(begun.wait, 20)  # something is under way
    try:
        await asyncio.wait_for(task, 0.01)
    except asyncio.TimeoutError:
        print("timed out\\n", end="")  # in one piece: several threads print

def in_a_loop_that_nobody_winds_up():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(give_up())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

for _ in range(3):
    asyncio.run(give_up())
threads = [threading.Thread(target=asyncio.run, args=(give_up(),)) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
in_a_loop_that_nobody_winds_up()
print(getattr(encoder.backend, "requests_in_flight", 0), "in flight")
"""

AT_EXIT = """
import asyncio, atexit, sys
from PIL import Image
from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.errors import BackendError
from tests.fakes import KINDS
from tests.faulty_server import KEY, FaultyServer

images = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in range(3)]

def api():
    server = FaultyServer()
    server.__enter__()
    return JinaClipEncoder(base_url=server.url, api_key=KEY, batch_size=1)

def local():
    return JinaClipEncoder("demo", backend="local", batch_size=1)

kind, warm = sys.argv[1:]
encoder = {"api": api, "local": local}.get(kind, lambda: JinaClipEncoder(backend=KINDS[kind]()))()
if warm == "warm":
    encoder.encode_text("before the end")

def finish():
    for call in (
        lambda: encoder.encode_text(["a", "b", "c"]),
        lambda: encoder.encode_image(images),
        lambda: asyncio.run(encoder.aencode_text(["a", "b", "c"])),
        lambda: asyncio.run(encoder.aencode_image(images)),
    ):
        try:
            print(len(call()))
        except BackendError as error:
            print("program is ending" if "the program is ending" in str(error) else error)

atexit.register(finish)
"""

AFTER_MAIN = """
import threading
from PIL import Image
from jina_clip_integrations import JinaClipEncoder
from tests.fakes import BlockingBackend

def work():
    threading.main_thread().join()
    print(JinaClipEncoder(backend=BlockingBackend()).encode_image([Image.new("RGB", (9, 9))] * 2).shape)

threading.Thread(target=work).start()
"""


def run(script: str, *arguments: str) -> str:
    """What a program of its own prints. Fails on anything on stderr, another exit code, and on a hang."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.mark.parametrize("kind", ["local", "api"])
def test_a_loop_may_end_after_a_timeout_while_something_is_under_way(kind: str) -> None:
    assert run(TIMED_OUT, kind) == "timed out\n" * 7 + "0 in flight\n"


@pytest.mark.parametrize("kind", ["api", "local", *KINDS])
def test_exit_handlers_may_embed(kind: str) -> None:
    assert run(AT_EXIT, kind, "warm") == "3\n" * 4


@pytest.mark.parametrize("kind", ["api", "local", *KINDS])
def test_what_exit_handlers_begin_works_or_says_why_not(kind: str) -> None:
    expected = {"local": ["program is ending"]}.get(kind, ["3"]) * 4
    if kind == "awaitable" and sys.version_info >= (3, 12):  # needs a thread for its loop
        expected[:2] = ["program is ending"] * 2
    assert run(AT_EXIT, kind, "cold").splitlines() == expected


def test_a_thread_that_goes_on_after_the_main_one_may_embed() -> None:
    assert run(AFTER_MAIN) == "(2, 8)\n"


def by_adapters() -> dict[str, Any]:
    encoder = JinaClipEncoder(backend=BlockingBackend())
    langchain = JinaClipEmbeddings(backend=BlockingBackend())
    llama_index = JinaClipEmbedding(backend=BlockingBackend())
    return {
        "aencode_text": lambda: encoder.aencode_text("a"),
        "aencode_image": lambda: encoder.aencode_image("a.png"),
        "aencode": lambda: encoder.aencode([{"text": "a"}]),
        "aiter_encode": lambda: anext(encoder.aiter_encode([{"text": "a"}])),
        "aclassify": lambda: encoder.aclassify(["a.png"], ["cat", "dog"], logit_scale=100.0),
        "local aembed": lambda: LocalBackend("demo").aembed(batch()),
        "local aclose": lambda: LocalBackend("demo").aclose(),
        "api aembed": lambda: ApiBackend("jina-clip-v2", api_key="k").aembed(batch()),
        "api aclose": lambda: ApiBackend("jina-clip-v2", api_key="k").aclose(),
        "aembed_query": lambda: langchain.aembed_query("a"),
        "aembed_documents": lambda: langchain.aembed_documents(["a"]),
        "aembed_images": lambda: langchain.aembed_images(["a.png"]),
        "aget_query_embedding": lambda: llama_index.aget_query_embedding("a"),
        "aget_text_embedding_batch": lambda: llama_index.aget_text_embedding_batch(["a"]),
        "aget_image_embedding": lambda: llama_index.aget_image_embedding("a.png"),
    }


def batch() -> Any:
    return Batch(modality="text", texts=["a"])


@pytest.mark.parametrize("name", by_adapters())
def test_under_trio_every_async_method_names_the_way(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"trio\.to_thread\.run_sync"):
        trio.run(by_adapters()[name])


def test_under_trio_the_blocking_methods_work_in_a_thread() -> None:
    encoder = JinaClipEncoder(backend=KINDS["awaitable"]())

    async def main() -> Any:
        return await trio.to_thread.run_sync(encoder.encode_text, ["a", "b"])

    assert trio.run(main).shape == (2, 8)
