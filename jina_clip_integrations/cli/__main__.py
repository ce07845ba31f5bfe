"""`python -m jina_clip_integrations.cli` is the `jina-clip` command."""

from __future__ import annotations

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
