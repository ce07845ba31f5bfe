"""The encoder: text and images in, rows of one space out, whatever computes them."""

from .encoder import JinaClipEncoder as JinaClipEncoder

__all__ = ["JinaClipEncoder"]
