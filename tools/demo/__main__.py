"""`.venv/bin/python tools/demo up | down`, from a checkout; `make demo` sees to the environment first."""

import sys
from pathlib import Path

# Python puts this folder on the path, where our modules would hide others of the same name; the package is one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from demo.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
