"""`.venv/bin/python tools/demo`, from a checkout; `make demo` sees to the environment first."""

import sys
from pathlib import Path

# Python puts this folder on the path, where our modules would hide others of the same name; the package is one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from cluster.errors import ClusterError  # noqa: E402
from demo.story import tell  # noqa: E402

try:
    sys.exit(tell())
except ClusterError as error:
    print(f"demo: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    print("demo: interrupted; `make demo-down` clears what was started", file=sys.stderr)
    sys.exit(130)
