"""The demo model and the image gallery that come with the package.

The model is small and was trained by `training/` on emoji images and their names; it is not one of Jina's. The
gallery holds images from Noto Emoji, with names in many languages from CLDR; `data/DATA_CARD.md` has the sources,
licences and measured recall.
"""

from __future__ import annotations

from .checkpoint import demo_model_path
from .gallery import Gallery, GalleryImage, gallery

__all__ = ["Gallery", "GalleryImage", "demo_model_path", "gallery"]
