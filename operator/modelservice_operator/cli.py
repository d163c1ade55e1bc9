"""The command line: `run` the operator, or print its `crds`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelservice_operator import config, names
from modelservice_operator.api import crd
from modelservice_operator.engine import log
from modelservice_operator.engine.operator import DeadPartError, Kinds, Operator
from modelservice_operator.kube import resources
from modelservice_operator.kube.credentials import NoCredentialsError
from modelservice_operator.kube.session import Cluster
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
    ),
    label=names.NAME,
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
        asyncio.run(_run(settings, options.namespace, options.listen))
    except (config.ConfigError, NoCredentialsError, DeadPartError) as error:
        _log.error("%s", error)
        return 1
    return 0


async def _run(settings: config.Config, namespaces: Sequence[str], listen: tuple[str | None, int]) -> None:
    cluster = await Cluster.connect()
    operator = Operator(
        cluster,
        KINDS,
        watch=Watch(resources.MODEL_SERVICES, namespaces),
        domain=lambda store, applier: Reconciler(settings, store, applier, lambda: datetime.now(UTC)),
        namespaces=namespaces,
        listen=listen,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, operator.stop)
    try:
        await operator.run()
    finally:
        await cluster.close()


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
    commands.add_parser("crds", help="print the CustomResourceDefinition")
    return parser


def _address(text: str) -> tuple[str | None, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or None, int(port)


if __name__ == "__main__":
    sys.exit(main())
