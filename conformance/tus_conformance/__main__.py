"""Several reports as one matrix: `python -m conformance a.json b.json > matrix.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from .report import as_markdown, read

if __name__ == "__main__":
    sys.stdout.write(as_markdown([read(Path(name)) for name in sys.argv[1:]]))
