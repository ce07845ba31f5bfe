"""What victims need, imported once by the process that they are forks of."""

import importlib

for name in (
    "jina_clip_integrations.cli.embed",
    "jina_clip_integrations.cli.index",
    "jina_clip_integrations.cli.serve",
    "jina_clip_integrations.encoder",
    "jina_clip_integrations.server",
    "pyarrow.parquet",
    "qdrant_client.local.qdrant_local",
    "tests.failures.victims",
    "uvicorn.protocols.http.h11_impl",
):
    importlib.import_module(name)
