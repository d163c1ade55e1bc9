"""`python3 tools/images build [IMAGE…]`, from a checkout and without installing anything."""

import sys
from pathlib import Path

# Python puts this folder on the path, where our modules would hide others of the same name; the package is one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from images.cli import main  # noqa: E402

sys.exit(main())
