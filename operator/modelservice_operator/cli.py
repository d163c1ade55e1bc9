"""The command line: `run` the operator, or print its `crds`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelservice_operator import config, names
from modelservice_operator.api import crd
from modelservice_operator.engine import log
from modelservice_operator.engine.apply import Mark
from modelservice_operator.engine.leader import Election
from modelservice_operator.engine.neighbours import Neighbours
from modelservice_operator.engine.operator import DeadPartError, Kinds, Operator
from modelservice_operator.kube import resources
from modelservice_operator.kube.credentials import NoCredentialsError
from modelservice_operator.kube.session import Cluster
from modelservice_operator.monitoring import collectors
from modelservice_operator.reconcile import Reconciler
from modelservice_operator.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)

KINDS = Kinds(
    services=resources.MODEL_SERVICES,
    children=(
        resources.CONTROLLER_REVISIONS,
        resources.CONFIG_MAPS,
        resources.DEPLOYMENTS,
        resources.SERVICES,
        resources.PODS,
        resources.POD_DISRUPTION_BUDGETS,
        resources.NETWORK_POLICIES,
    ),
    optional=(resources.SERVICE_MONITORS, resources.PROMETHEUS_RULES),
    label=names.NAME,
    surroundings={
        resources.NAMESPACES: lambda body: dict(body["metadata"].get("labels") or {}),
        **dict.fromkeys(resources.COLLECTORS, collectors.facts),
    },
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "crds":
        sys.stdout.write(crd.as_yaml())
        return 0
    log.configure()
    try:
        settings = config.load(options.config)
        asyncio.run(_run(settings, options))
    except (config.ConfigError, NoCredentialsError, DeadPartError) as error:
        _log.error("%s", error)
        return 1
    return 0


async def _run(settings: config.Config, options: argparse.Namespace) -> None:
    async with AsyncExitStack() as ends:
        cluster = await Cluster.connect()
        ends.push_async_callback(cluster.close)
        election, identity, lease = None, _identity(), ""
        name = names.lease(settings.installation)
        if options.leader_elect:
            # A session of its own: a renewal must not wait behind other requests.
            port = await Cluster.connect()
            ends.push_async_callback(port.close)
            election = Election(port, options.lease_namespace, name, identity)
            lease = f"{options.lease_namespace}/{name}"
        neighbours = Neighbours(cluster, lease)
        operator = Operator(
            cluster,
            KINDS,
            watch=Watch(resources.MODEL_SERVICES, options.namespace),
            domain=lambda store, applier, apis, surroundings, recorder: Reconciler(
                settings,
                store,
                applier,
                apis=apis,
                surroundings=surroundings,
                neighbours=neighbours,
                recorder=recorder,
                clock=lambda: datetime.now(UTC),
            ),
            mark=Mark({names.INSTALLATION: settings.installation}, {names.LEASE: lease} if lease else {}),
            identity=identity,
            election=election,
            namespaces=options.namespace,
            listen=options.listen,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, operator.stop)
        await operator.run()


def _identity() -> str:
    """Name this process for people (its pod) and for ever: a container that starts anew is another candidate."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:12]}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="modelservice-operator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="look after ModelServices until told to stop")
    run.add_argument("--config", type=Path, required=True, metavar="FILE", help="the operator's configuration (YAML)")
    run.add_argument(
        "--namespace", action="append", default=[], metavar="NAME", help="look after this namespace only (repeatable)"
    )
    run.add_argument(
        "--listen",
        type=_address,
        default=(None, 8080),
        metavar="[HOST]:PORT",
        help="where /healthz, /readyz and /metrics are served (default: port 8080 of every address)",
    )
    in_pod = os.environ.get("POD_NAMESPACE", "")
    run.add_argument(
        "--leader-elect",
        type=_truth,
        default=bool(in_pod),
        metavar="true|false",
        help="work only while holding a Lease, so that several operators may run (default: true in a pod)",
    )
    run.add_argument(
        "--lease-namespace",
        default=in_pod or "default",
        metavar="NAME",
        help="where the Lease is (default: $POD_NAMESPACE, else default)",
    )
    commands.add_parser("crds", help="print the CustomResourceDefinition")
    return parser


def _address(text: str) -> tuple[str | None, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or None, int(port)


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


if __name__ == "__main__":
    sys.exit(main())
