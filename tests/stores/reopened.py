"""Ask a store that another process has filled: `python -m tests.stores.reopened FRAMEWORK STORE PLACE PICTURE`.

Prints the answers as the last line, in JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.colours import ColourBackend


def ask(framework: str, store: str, place: str, picture: str) -> dict[str, list[str]]:
    embedding: Any
    stores: Any
    if framework == "langchain":
        from jina_clip_integrations.langchain import JinaClipEmbeddings
        from tests.stores import langchain_stores as stores

        embedding = JinaClipEmbeddings(backend=ColourBackend())
    else:
        from jina_clip_integrations.llama_index import JinaClipEmbedding
        from tests.stores import llama_index_stores as stores

        embedding = JinaClipEmbedding(backend=ColourBackend())
    with stores.STORES[store](place, embedding) as opened:
        answers: dict[str, list[str]] = stores.answers(opened, embedding, picture)
        return answers


if __name__ == "__main__":
    print("\n" + json.dumps(ask(*sys.argv[1:])))
