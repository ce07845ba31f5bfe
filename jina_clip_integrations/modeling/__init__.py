"""The models themselves: configuration, both towers, checkpoint reading and preprocessing, in plain PyTorch.

Importing this package makes the auto classes of `transformers` load `jina_clip` checkpoints with these classes; code
that a checkpoint brings along is not run.
"""

from inspect import signature

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor

from .checkpoint import save_published
from .configuration_jina_clip import JinaClipConfig, JinaClipTextConfig, JinaClipVisionConfig
from .image_processing_jina_clip import JinaClipImageProcessor
from .layout import expected_tensors
from .modeling_jina_clip import JinaClipModel
from .processing_jina_clip import JinaClipProcessor

__all__ = [
    "JinaClipConfig",
    "JinaClipImageProcessor",
    "JinaClipModel",
    "JinaClipProcessor",
    "JinaClipTextConfig",
    "JinaClipVisionConfig",
    "expected_tensors",
    "save_published",
]


def _register() -> None:
    for config in (JinaClipConfig, JinaClipTextConfig, JinaClipVisionConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(JinaClipConfig, JinaClipModel, exist_ok=True)
    AutoProcessor.register(JinaClipConfig, JinaClipProcessor, exist_ok=True)
    # One class for both of the framework's image backends; before 5.2 it did not tell them apart by name.
    if "image_processor_classes" in signature(AutoImageProcessor.register).parameters:
        both = dict.fromkeys(("pil", "torchvision"), JinaClipImageProcessor)
        AutoImageProcessor.register(JinaClipConfig, image_processor_classes=both, exist_ok=True)
    else:
        AutoImageProcessor.register(JinaClipConfig, slow_image_processor_class=JinaClipImageProcessor, exist_ok=True)


_register()
