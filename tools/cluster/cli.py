"""The commands; each is a function whose docstring is its help."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import binaries, drivers, home, kwok, processes, supervisor
from cluster.access import Access
from cluster.advertise import advertise as advertise_resource
from cluster.advertise import read as advertised
from cluster.api import Api
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.node import Node
from cluster.pins import TOOLS
from cluster.progress import say

_PATIENCE_SECONDS = 30.0  # on a busy machine a living cluster may miss a question or two


def main(arguments: Sequence[str]) -> int:
    """Run one command; return 0, 1 when something failed, 2 when this machine lacks something."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        print(f"cluster: {error}; a cluster that root started is root's: use sudo", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cluster: interrupted; `down` clears what was started", file=sys.stderr)
        return 130


def check(options: argparse.Namespace) -> None:
    """Tell all that this machine lacks for a cluster, and start nothing; the exit code is 2 then."""
    Home(options.name).driver(_driver(options), controllers=False).check()
    say("this machine can run a cluster")


def up(options: argparse.Namespace) -> None:
    """Start a cluster, or report the one that runs; a dead one is cleared away first."""
    where, wanted = Home(options.name), _driver(options)
    with where.locked():
        if _runs(where, wanted):
            say(f'the cluster "{where.name}" ({wanted}) runs already')
            return
        if where.directory.exists():
            say(f'clearing away what is left of the cluster "{where.name}"')
            _end(where)
        driver = where.driver(wanted, controllers=options.controllers)
        driver.check()
        where.create(wanted)
        driver.up()
        where.complete()
    say(f'the cluster "{where.name}" ({wanted}) is up: export KUBECONFIG={where.kubeconfig}')


def down(options: argparse.Namespace) -> None:
    """End one cluster, or all of this checkout, and remove everything that belongs to it."""
    for name in home.names() if options.all else [options.name]:
        where = Home(name)
        with where.locked():
            _end(where)
        say(f'the cluster "{name}" is gone')


def status(options: argparse.Namespace) -> int:
    """Tell how a cluster does; the exit code is 0 when it is of use."""
    where = Home(options.name)
    driver = where.driver_name
    if driver is None:
        print(f'There is no cluster "{where.name}".')
        return 1
    health = where.driver(driver).health()
    print("\n".join(health.lines))
    return 0 if health.ok else 1


def load_image(options: argparse.Namespace) -> None:
    """Give the node the images of an archive (docker or OCI); what it has already is not loaded again."""
    if not options.archive.is_file():
        raise ClusterError(f"{options.archive} is no file; build the image first.")
    where, driver = _existing(options.name)
    where.driver(driver).load_image(options.archive.resolve())


def advertise(options: argparse.Namespace) -> None:
    """Let every node claim to have so many of a resource, for example nvidia.com/gpu=4; pods get no device."""
    where, _ = _existing(options.name)
    advertise_resource(where.kubeconfig, options.resource)


def add_node(options: argparse.Namespace) -> None:
    """Add a node to a cluster of profile kwok: add-node n1 nvidia.com/gpu=8."""
    where, driver = _existing(options.name)
    if driver != "kwok":
        raise ClusterError(f'The cluster "{where.name}" is {driver}; nodes are added where the profile is kwok.')
    devices = dict(advertised(each) for each in options.devices)
    Api(Access.read(where.kubeconfig)).create("/api/v1/nodes", kwok.node(options.node, devices))


def nsenter(options: argparse.Namespace) -> None:
    """Run a command in the node's network, with this machine's files: nsenter -- curl http://10.97.64.5:8080/."""
    where, driver = _existing(options.name)
    if driver != "node":
        raise ClusterError(f'The cluster "{where.name}" is {driver}; only a node of ours has a network to enter.')
    command = Node(where.directory).in_network(options.command)
    # The mark lets `down` end the command too: it would keep the node's network alive.
    os.execvpe(command[0], command, processes.marked(where.directory, os.environ))  # noqa: S606 -- no shell is wanted


def env(options: argparse.Namespace) -> None:
    """Print what a shell evaluates to talk to the cluster: eval "$(python3 tools/cluster env)"."""
    where, _ = _existing(options.name)
    print(f"export KUBECONFIG={shlex.quote(str(where.kubeconfig))}")
    print(f"export PATH={shlex.quote(str(binaries.path('kubectl').parent))}:$PATH")


def bin_(options: argparse.Namespace) -> None:
    """Print where a program is; it is built if it must be."""
    print(binaries.path(options.tool))


def build(options: argparse.Namespace) -> None:
    """Build programs ahead of time: the named ones, or all."""
    for name in options.tools or TOOLS:
        say(f"{name}: {binaries.path(name)}")


def supervise(options: argparse.Namespace) -> None:
    """Be the first process of a node; `up` calls this in new namespaces."""
    supervisor.run(options.directory)


def _driver(options: argparse.Namespace) -> str:
    """Return the driver that `up` is to use; without real pods it is always ours."""
    if options.profile != "node":
        return str(options.profile)
    kind_works = options.driver == "auto" and drivers.docker_and_kind(os.environ)
    return drivers.choose(options.driver, os.environ, home.ROOT, docker_and_kind=kind_works)


def _runs(where: Home, wanted: str) -> bool:
    """Tell whether the cluster runs and is what is wanted; one that lives is never cleared away unasked."""
    name = where.driver_name
    if name is None or not where.is_complete:
        return False
    driver = where.driver(name)
    health, patience = driver.health(), time.monotonic() + _PATIENCE_SECONDS
    while health.alive and not health.ok and time.monotonic() < patience:
        time.sleep(0.5)
        health = driver.health()
    if not health.alive:
        return False
    if name != wanted:
        problem = f"runs, but as {name}, not as {wanted}"
    elif not health.ok:
        problem = f"runs, but does not do well ({'; '.join(health.lines)})"
    else:
        return True
    raise ClusterError(f'The cluster "{where.name}" {problem}: end it with `down` first, or choose another --name.')


def _existing(name: str) -> tuple[Home, str]:
    where = Home(name)
    if (driver := where.driver_name) is None:
        raise ClusterError(f'There is no cluster "{name}"; `up` starts one.')
    return where, driver


def _end(where: Home) -> None:
    # Without a record it was interrupted before it had one; a node's `down` clears all that there can be.
    where.driver(where.driver_name or "node").down()
    where.remove()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cluster", description="A throw-away Kubernetes for tests and demos.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], object], *, named: bool = True) -> argparse.ArgumentParser:
        name = run.__name__.rstrip("_").replace("_", "-")
        added = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        if named:
            added.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")
        return added

    checks, starts = command(check), command(up)
    for kinds in (checks, starts):
        kinds.add_argument("--profile", choices=("controlplane", "kwok", "node"), default="node")
        kinds.add_argument(
            "--driver", choices=("auto", "node", "kind", "given"), default="auto", help="for profile node"
        )
    starts.add_argument("--controllers", action="store_true", help="profile controlplane: also start the controllers")
    command(down).add_argument("--all", action="store_true", help="every cluster of this checkout")
    command(status)
    command(load_image).add_argument("archive", type=Path)
    command(advertise).add_argument("resource", metavar="RESOURCE=COUNT")
    adds = command(add_node)
    adds.add_argument("node", metavar="NODE")
    adds.add_argument("devices", nargs="*", metavar="RESOURCE=COUNT")
    command(nsenter).add_argument("command", nargs="+")
    command(env)
    command(bin_, named=False).add_argument("tool", choices=sorted(TOOLS))
    command(build, named=False).add_argument("tools", nargs="*", metavar="TOOL", choices=[[], *TOOLS])
    command(supervise, named=False).add_argument("directory", type=Path)
    return parser
