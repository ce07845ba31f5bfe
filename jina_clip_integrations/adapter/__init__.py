"""What both framework adapters share: the options as pydantic fields, and the one encoder behind them.

Both frameworks bring pydantic, so only `langchain` and `llama_index` import this package.
"""

from __future__ import annotations

from .options import EncoderOptions

__all__ = ["EncoderOptions"]
