"""`.venv/bin/python tools/demo`, from a checkout; `make demo` sees to the environment first."""

import json
import sys
from pathlib import Path

# Python puts this folder on the path, where our modules would hide others of the same name; the package is one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from cluster.errors import ClusterError  # noqa: E402
from demo.story import tell  # noqa: E402

try:
    told = tell()
    print(json.dumps(told))
    sys.exit(0 if told["predicted"] == told["label"] else 1)
except ClusterError as error:
    print(f"demo: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    print("demo: interrupted; `make demo-down` clears what was started", file=sys.stderr)
    sys.exit(130)
