"""Constructor calls of the LangChain adapter, for a type checker; never run."""

from pathlib import Path

from pydantic import SecretStr

from jina_clip_integrations import LocalBackend, SourcePolicy
from jina_clip_integrations.langchain import JinaClipEmbeddings

JinaClipEmbeddings()
JinaClipEmbeddings(model="jina-clip-v2", api_key="jina_test", dimensions=512, timeout=3.0)
JinaClipEmbeddings(api_key=SecretStr("jina_test"), batch_size="auto", cache=Path("vectors.sqlite"))
JinaClipEmbeddings(backend="local", model="demo", device=["cpu", "cpu"], sources=SourcePolicy.agent())
JinaClipEmbeddings(backend="sagemaker", endpoint_name="clip", region_name="eu-central-1")
JinaClipEmbeddings(backend=LocalBackend("demo"))

JinaClipEmbeddings(dimension=512)  # error: call-arg
JinaClipEmbeddings(dimensions="512")  # error: arg-type
JinaClipEmbeddings(backend="local", device=0)  # error: arg-type
JinaClipEmbeddings(sources="agent")  # error: arg-type
