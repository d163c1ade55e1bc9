"""The two commands: `up` tells the story, `down` takes everything back."""

import argparse
import sys
from collections.abc import Sequence

from cluster.errors import ClusterError
from demo import story


def main(arguments: Sequence[str]) -> int:
    """Run one command; return 0, 1 when something failed, 2 when this machine lacks something."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    options = parser.parse_args(arguments)
    try:
        return story.tell() if options.command == "up" else story.undo()
    except ClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("demo: interrupted; `make demo-down` clears what was started", file=sys.stderr)
        return 130
