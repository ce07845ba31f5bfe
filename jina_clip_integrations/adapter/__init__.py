"""What both framework adapters share: the options as pydantic fields, and the one encoder behind them.

Both frameworks bring pydantic, so only `langchain` and `llama_index` import this room.
"""

from __future__ import annotations

from .inputs import image_list, one_text, row, rows, text_list
from .options import EncoderOptions

__all__ = ["EncoderOptions", "image_list", "one_text", "row", "rows", "text_list"]
