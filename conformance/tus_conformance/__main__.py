"""Run the suite: `python -m tus_conformance URL`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
