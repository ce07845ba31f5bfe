"""The encoder: text and images to vectors of one space, whatever computes them."""

from .encoder import JinaClipEncoder as JinaClipEncoder

__all__ = ["JinaClipEncoder"]
