"""How far one text and one image travel through the package: files visited, and moves between files.

    python tools/call_path.py [--files]

Every adapter is asked for one text and one image over every backend, warm (the second call counts). A profiler notes
each function of the package that is entered or left, in whatever thread: `files` are the different files among them,
`moves` the times that the next function entered lies in another file than the last one. The API and SageMaker are
answered in this process, without a network.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "jina_clip_integrations"
WIDTH = 1024


class Trail:
    """The files of the package that were entered, in order."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def note(self, frame: FrameType, event: str, _argument: Any) -> None:
        """A profile function for `sys.setprofile`."""
        if event == "call":
            file = frame.f_code.co_filename
            if f"{PACKAGE}/" in file and "<" not in frame.f_code.co_name[:1]:
                self.steps.append(file.rpartition(f"{PACKAGE}/")[2])

    @property
    def files(self) -> list[str]:
        """Different files, in the order of their first call."""
        return list(dict.fromkeys(self.steps))

    @property
    def moves(self) -> int:
        """Calls that lie in another file than the call before."""
        return sum(here != there for here, there in zip(self.steps, self.steps[1:], strict=False))


def walk(call: Callable[[], Any]) -> Trail:
    """The way of one call, after one to warm up."""
    call()
    trail = Trail()
    threading.setprofile(trail.note)
    sys.setprofile(trail.note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return trail


def answer(body: bytes) -> bytes:
    """What the hosted API would answer: a vector per item."""
    items = json.loads(body)
    items = items.get("input") or items["data"]
    row = base64.b64encode(np.ones(WIDTH, np.float32).tobytes()).decode()
    data = [{"index": index, "embedding": row} for index in range(len(items))]
    return json.dumps({"model": "jina-clip-v2", "data": data, "usage": {"total_tokens": 1}}).encode()


def http_clients() -> dict[str, Any]:
    """httpx clients without a network."""
    import httpx

    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=answer(request.read())))
    return {"http_client": httpx.Client(transport=transport)}


class Runtime:
    """A `sagemaker-runtime` client without AWS."""

    def invoke_endpoint(self, *, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803  # as in boto3
        """An answer of the endpoint."""
        return {"Body": io.BytesIO(answer(Body)), "ResponseMetadata": {}}

    def close(self) -> None:
        """Nothing to close."""


def options() -> dict[str, dict[str, Any]]:
    """Constructor options per backend, for either adapter."""
    from jina_clip_integrations import SageMakerBackend

    return {
        "api": {"model": "jina-clip-v2", "api_key": "jina_test", **http_clients()},
        "local": {"model": "demo", "backend": "local"},
        "sagemaker": {"backend": SageMakerBackend("endpoint", model="jina-clip-v2", client=Runtime())},
    }


def adapters() -> dict[str, tuple[type, str, str]]:
    """Class, method for one text and method for one image, per adapter."""
    from jina_clip_integrations import JinaClipEncoder
    from jina_clip_integrations.langchain import JinaClipEmbeddings
    from jina_clip_integrations.llama_index import JinaClipEmbedding

    return {
        "JinaClipEncoder": (JinaClipEncoder, "encode_text", "encode_image"),
        "LangChain": (JinaClipEmbeddings, "embed_query", "embed_image"),
        "LlamaIndex": (JinaClipEmbedding, "get_text_embedding", "get_image_embedding"),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", action="store_true", help="list the files of a text through LangChain and the API")
    args = parser.parse_args(arguments)
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "image.png")
        Image.new("RGB", (640, 480), "red").save(path)
        print("| adapter | backend | input | files | moves |\n| --- | --- | --- | ---: | ---: |")
        for adapter, (cls, text_method, image_method) in adapters().items():
            for backend, chosen in options().items():
                made = cls(**chosen)
                for kind, method, given in (("text", text_method, "a red bicycle"), ("image", image_method, path)):
                    trail = walk(partial(getattr(made, method), given))
                    print(f"| {adapter} | {backend} | {kind} | {len(trail.files)} | {trail.moves} |")
                    if args.files and (adapter, backend, kind) == ("LangChain", "api", "text"):
                        listed = "\n".join(f"    {file}" for file in trail.steps)
                        print(listed, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
