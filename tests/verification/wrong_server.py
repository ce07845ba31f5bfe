"""A server of a golden checkpoint, in any dialect, that makes one mistake.

Mistakes are planted with other means than the diagnosis has: pixels with NumPy and Pillow before or after the published
preprocessing, texts before the tokenizer, rows after the forward pass.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel, JinaClipProcessor

Rows = np.ndarray[Any, Any]


class WrongModel:
    """A golden checkpoint, one image and one text at a time, with hooks for mistakes."""

    def __init__(self, folder: Any, **config: Any) -> None:
        settings = JinaClipConfig.from_pretrained(folder)
        for name, value in config.items():
            setattr(settings.text_config, name, value)
        self.model = JinaClipModel.from_pretrained(folder, config=settings, dtype=torch.float32).eval()
        self.processor = JinaClipProcessor.from_pretrained(folder)
        self.size = self.processor.image_processor.size
        self.instructions = dict(self.processor.task_instructions)
        self.open: Callable[[bytes], Image.Image] = lambda data: ImageOps.exif_transpose(
            Image.open(io.BytesIO(data))
        ).convert("RGB")
        self.fit: Callable[[Image.Image], Rows] = self.processor.image_processor.fit
        self.normal: Callable[[Rows], Rows] = self._normal
        self.text: Callable[[str, str | None], str] = lambda text, task: self.instructions.get(task or "", "") + text
        self.ids: Callable[[str], list[int]] = lambda text: self.processor(text=[text])["input_ids"][0]
        self.pool: Callable[[Rows], Rows] = lambda states: states.mean(axis=0)
        self.finish: Callable[[Rows, int | None], Rows] = _finish
        self.order: Callable[[list[Any]], list[Any]] = lambda rows: rows

    def _normal(self, pixels: Rows) -> Rows:
        images = self.processor.image_processor
        return (pixels / np.float32(255) - np.float32(images.image_mean)) / np.float32(images.image_std)

    def image(self, data: bytes) -> Rows:
        pixels = self.normal(self.fit(self.open(data)).astype(np.float32)).astype(np.float32)
        with torch.inference_mode():
            return self.model.vision_model.embed(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))[0].numpy()

    def words(self, text: str, task: str | None) -> Rows:
        with torch.inference_mode():
            states = self.model.text_model(torch.tensor([self.ids(self.text(text, task))])).last_hidden_state
            return self.pool(states[0].numpy())


def _finish(row: Rows, dimensions: int | None) -> Rows:
    row = row[:dimensions]
    return row / np.linalg.norm(row)


@contextmanager
def serving(model: WrongModel) -> Iterator[str]:
    """The model behind HTTP on loopback; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(answer(model, body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(model: WrongModel, body: Mapping[str, Any]) -> dict[str, Any]:
    """The response to a request of any dialect."""
    options = {**body, **body.get("parameters", {})}
    raw = "data" in body  # of the AWS packages, which do not normalise
    rows = []
    for item in body.get("input", body.get("data")):
        data = image_in(item, options.get("modality"))
        text = item.get("text") if isinstance(item, dict) else item
        row = model.words(str(text), options.get("task")) if data is None else model.image(data)
        width = options.get("dimensions")
        rows.append(row[:width] if raw else model.finish(row, width))
    rows = model.order(rows)
    entries = [{"index": index, "embedding": [float(value) for value in row]} for index, row in enumerate(rows)]
    named = {"model": body["model"]} if "model" in body else {}
    return {"data": entries, **named, "usage": {"total_tokens": 1, "prompt_tokens": 1}}


def image_in(item: Any, modality: str | None) -> bytes | None:
    """The bytes of an image item, None for a text."""
    found: str | None
    if isinstance(item, dict):
        found = next((item[key] for key in ("image", "image_base64", "bytes") if key in item), None)
    else:
        found = item if modality == "image" or item.startswith("data:image") else None
    return None if found is None else base64.b64decode(found.split(",")[-1])
