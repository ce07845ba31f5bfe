"""Constructor calls of the encoder and the backends, for a type checker; never run."""

from jina_clip_integrations import ApiBackend, Batch, BatchResult, JinaClipEncoder, LocalBackend, SageMakerBackend


class Mine:
    """The smallest backend of one's own."""

    model = "mine"
    dimensions = 4

    def embed(self, batch: Batch) -> BatchResult:
        raise NotImplementedError


JinaClipEncoder("jina-clip-v2", api_key="jina_test", dimensions=512)
JinaClipEncoder(backend=ApiBackend("jina-clip-v2", batch_size=16, timeout=3.0))
JinaClipEncoder(backend=LocalBackend("demo", device="cpu", batch_size="auto"))
JinaClipEncoder(backend=SageMakerBackend("clip", model="jina-clip-v2"))
JinaClipEncoder(backend=Mine())

JinaClipEncoder("jina-clip-v2", dimensions="512")  # error: arg-type
JinaClipEncoder(backend=3)  # error: arg-type
ApiBackend("jina-clip-v2", batch_sise=16)  # error: call-arg
ApiBackend("jina-clip-v2", batch_size="16")  # error: arg-type
LocalBackend("demo", devise="cpu")  # error: call-arg
LocalBackend("demo", device=0)  # error: arg-type
