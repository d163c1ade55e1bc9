"""The operator in a hurry: what it waits for in seconds takes a fraction, so that a life is short and silence cheap.

A pod that is ready counts as available after one second instead of five, and the API server has three seconds to answer
instead of thirty (the fault proxy is silent for longer than that). Live requests are read twice a second, an evaluation
without a verdict is tried again after one. A worker for every life lets many share a death.

It imports everything once, then forks an operator for each command line that it is told: see mortal.py.
"""

import json
import os
import signal
import sys
from datetime import timedelta

import aiohttp

from modelservice_operator import cli, evaluations, readings
from modelservice_operator.engine import operator
from modelservice_operator.kube import session
from modelservice_operator.render import children

children.MIN_READY_SECONDS = 1  # type: ignore[misc]
session.Cluster._exchange.__wrapped__.__kwdefaults__["limits"] = aiohttp.ClientTimeout(total=3)  # type: ignore[attr-defined]
readings.Readings.__init__.__kwdefaults__["every_seconds"] = 0.5  # type: ignore[attr-defined]
evaluations._FIRST_WAIT = timedelta(seconds=1)
operator._WORKERS = 48  # type: ignore[misc]


def fork_as_told() -> None:
    """Read command lines, each a line of JSON, and answer with the ID of the process that runs it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    for line in sys.stdin:
        if (process := os.fork()) == 0:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            os._exit(cli.main(json.loads(line)))
        print(process, flush=True)  # noqa: T201 (that is the answer)


if __name__ == "__main__":
    fork_as_told()
