"""Ask stores that another process has filled: `python -m tests.stores.reopened FRAMEWORK IMAGE PLACES`.

`PLACES` is a JSON object of store and place. Prints the answers of each store as the last line, in JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.colours import ColourBackend


def ask(framework: str, image: str, places: str) -> dict[str, dict[str, list[str]]]:
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
    found: dict[str, dict[str, list[str]]] = {}
    for store, place in json.loads(places).items():
        with stores.STORES[store](place, embedding) as opened:
            found[store] = stores.answers(opened, embedding, image)
    return found


if __name__ == "__main__":
    print("\n" + json.dumps(ask(*sys.argv[1:])))
