"""The operator in a hurry: what it waits for in seconds takes a fraction, so that a life is short and silence cheap.

A pod that is ready counts as available after one second instead of five, and the API server has three seconds to answer
instead of thirty (the fault proxy is silent for longer than that).
"""

import sys

import aiohttp

from modelservice_operator import cli
from modelservice_operator.kube import session
from modelservice_operator.render import children

children.MIN_READY_SECONDS = 1  # type: ignore[misc]
session.Cluster._exchange.__wrapped__.__kwdefaults__["limits"] = aiohttp.ClientTimeout(total=3)  # type: ignore[attr-defined]

if __name__ == "__main__":
    sys.exit(cli.main())
