"""Constructor calls of the LlamaIndex adapter, for a type checker; never run."""

from jina_clip_integrations import LocalBackend, SourcePolicy
from jina_clip_integrations.llama_index import JinaClipEmbedding

JinaClipEmbedding()
JinaClipEmbedding(model_name="jina-clip-v2", api_key="jina_test", dimensions=512, timeout=3.0)
JinaClipEmbedding(backend="local", model_name="demo", device="cpu", sources=SourcePolicy.agent())
JinaClipEmbedding(backend=LocalBackend("demo"), embed_batch_size=10, num_workers=4)

JinaClipEmbedding(model_nam="jina-clip-v2")  # error: call-arg
JinaClipEmbedding(dimensions="512")  # error: arg-type
JinaClipEmbedding(backend="local", device=0)  # error: arg-type
JinaClipEmbedding(embed_batch_size="all")  # error: arg-type
