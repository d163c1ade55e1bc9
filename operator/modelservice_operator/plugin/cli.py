"""The commands of `kubectl modelservice`."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn

from modelservice_operator.plugin import progress, view, words
from modelservice_operator.plugin.acts import ACTS, RefusedError
from modelservice_operator.plugin.kubectl import ForbiddenError, Kubectl, KubectlError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelservice_operator.plugin.words import Body

COMMANDS: Final = {
    "status": "show revisions, pods, gates, error budgets, and why things are as they are",
    "watch": "follow what changes until the latest spec is in force (status 0) or cannot be (3)",
    "history": "show what was decided about revisions, with what was measured",
    "pause": "hold back revisions; what serves is looked after as ever",
    "resume": "end the pause",
    "promote": "let the revision on its way in skip what it still has to wait for or prove",
    "rollback": "give a revision up for good and return to the one promoted before",
    "retry": "try a revision again that was refused",
    "restart": "replace all pods by a new revision of the same spec, through all gates",
}
CLUSTER_FLAGS: Final = ("--context", "--kubeconfig", "--cluster", "--user", "--as")

_ERROR, _STALLED, _TIMED_OUT = 1, 3, 4
_SECOND_LOOK_SECONDS = 3.0  # what is so when we come may be about to change: a command of a moment ago
_DURATION: Final = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit status."""
    options = _parser().parse_args(arguments)
    flags = tuple(f"{flag}={getattr(options, flag[2:])}" for flag in CLUSTER_FLAGS if hasattr(options, flag[2:]))
    kubectl = Kubectl(flags, getattr(options, "namespace", ""))
    try:
        return _run(kubectl, options)
    except NotFoundError:
        return _fail(_nearby(kubectl, options.name))
    except (KubectlError, RefusedError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(kubectl: Kubectl, options: argparse.Namespace) -> int:
    if options.command == "watch":
        return _watch(kubectl, options)
    service = kubectl.get(options.name)
    match options.command:
        case "status":
            _status(kubectl, service, options)
        case "history":
            _history(service, options)
        case command:
            _act(kubectl, service, command, options)
    return 0


def _status(kubectl: Kubectl, service: Body, options: argparse.Namespace) -> None:
    try:
        pods = kubectl.pods(options.name)
    except ForbiddenError:
        pods = None
    if options.output == "json":
        print(json.dumps(view.status_object(service, pods), indent=2))
    else:
        print(*view.status(service, pods, colours=_has_colours()), sep="\n")


def _history(service: Body, options: argparse.Namespace) -> None:
    lines = words.status_of(service).get("history") or []
    if options.output == "json":
        print(json.dumps(lines, indent=2))
    elif lines:
        print(*view.history(lines, colours=_has_colours()), sep="\n")
    else:
        print(f"Nothing was decided about {options.name} yet.")


def _act(kubectl: Kubectl, service: Body, command: str, options: argparse.Namespace) -> None:
    act = ACTS[command](service, getattr(options, "revision", ""), _now())
    kubectl.merge(options.name, act.patch)
    if options.output == "json":
        done = {"name": options.name, "namespace": service["metadata"]["namespace"], "command": command}
        print(json.dumps({**done, "revision": act.revision, "message": act.told}, indent=2))
    else:
        print(act.told)


def _watch(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Tell every change until the end; an end that is there from the start must last for a moment."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and with us the kubectl that watches
    began = time.monotonic()
    seen, has_moved = None, False
    for service in kubectl.watch(options.name, _warn):
        if service is not None:
            for change in progress.changes(seen, service):
                _tell(change, options.output)
            has_moved |= seen is not None and words.status_of(seen) != words.status_of(service)
            seen = service
        if seen is None:
            continue
        waited = time.monotonic() - began
        outcome = progress.outcome(seen) if has_moved or waited >= _SECOND_LOOK_SECONDS else None
        if outcome is progress.Outcome.READY:
            return 0
        if outcome is progress.Outcome.STALLED:
            return _fail(f"Stalled, {words.condition(seen, 'Stalled')}", _STALLED)
        if options.timeout is not None and waited >= options.timeout:
            return _fail(f"Not ready after {options.timeout:g} s. {words.condition(seen, 'Ready')}", _TIMED_OUT)
    raise AssertionError("a watch does not end by itself")  # pragma: no cover


def _tell(change: progress.Change, output: str) -> None:
    if output == "json":
        print(json.dumps({"time": _now(), **change._asdict()}), flush=True)
    else:
        print(time.strftime("%H:%M:%S"), change.message, flush=True)


def _nearby(kubectl: Kubectl, name: str) -> str:
    """Say which ModelService may be meant instead, as far as we may look around."""
    namespace, known, has_namespace = kubectl.here(), [], True
    try:
        kubectl.run("get", "namespace", namespace)
    except NotFoundError:
        has_namespace = False
    except KubectlError:
        pass  # nobody lets us look
    for everywhere in (True, False):
        try:
            known = kubectl.model_services(everywhere=everywhere)
            break
        except KubectlError:
            continue
    return words.absent(name, namespace, has_namespace=has_namespace, known=known)


def _fail(message: str, status: int = _ERROR) -> int:
    _warn(message)
    return status


def _warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# -- arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message[:1].upper()}{message[1:]}. `{self.prog} --help` tells what may be given.\n")


def _parser() -> argparse.ArgumentParser:
    place = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    place.add_argument("-n", "--namespace", metavar="NAME", help="where the ModelService is (default: the context's)")
    for flag in CLUSTER_FLAGS:
        place.add_argument(flag, metavar="VALUE", help="as kubectl has it")
    parser = _Parser(
        prog="kubectl modelservice", parents=[place], description="What is asked of a ModelService by hand."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for command, told in COMMANDS.items():
        one = commands.add_parser(command, parents=[place], help=told, description=told)
        one.add_argument("name", metavar="NAME", help="name of the ModelService")
        if command in {"promote", "rollback"}:
            which = "on its way in" if command == "promote" else "on its way in, else the one that serves"
            one.add_argument("revision", nargs="?", default="", metavar="REVISION", help=f"default: the one {which}")
        if command == "watch":
            one.add_argument("--timeout", type=_seconds, metavar="TIME", help="give up (status 4) after that; 90s, 10m")
        one.add_argument(
            "-o", "--output", choices=["text", "json"], default="text", help="how to say it (default: text)"
        )
    return parser


def _seconds(text: str) -> float:
    if not (found := _DURATION.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600.0 * hours + 60 * minutes + seconds


if __name__ == "__main__":
    sys.exit(main())
