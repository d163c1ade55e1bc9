"""What the shell offers when Tab is pressed: kubectl runs `kubectl_complete-modelservice` with the words so far."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modelservice_operator.plugin import cli, words
from modelservice_operator.plugin.kubectl import Kubectl, KubectlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NO_FILES = ":4"  # the directive of cobra: do not offer file names instead


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what may stand where the last argument is."""
    *before, begun = arguments or sys.argv[1:] or [""]
    try:
        found = [each for each in candidates(before, begun) if each.startswith(begun)]
    except KubectlError:
        found = []  # nobody wants to read about it while typing
    sys.stdout.write("\n".join([*found, _NO_FILES, ""]))
    return 0


def candidates(before: Sequence[str], begun: str) -> Iterable[str]:
    """Return the words that make sense after those before, asking the cluster where it knows."""
    given, places = _read(before)
    kubectl = Kubectl(
        tuple(f"{flag}={value}" for flag, value in given.items() if flag in cli.CLUSTER_FLAGS),
        given.get("--namespace", ""),
    )
    match before[-1:]:
        case ["-n" | "--namespace"]:
            return kubectl.run("get", "namespaces", "--output=jsonpath={.items[*].metadata.name}").split()
        case ["--context"]:
            return kubectl.run("config", "get-contexts", "--output=name").split()
        case ["-o" | "--output"]:
            return ["json", "text"]
        case [flag] if flag.startswith("-") and "=" not in flag:
            return []
    if begun.startswith("-"):
        return [*cli.CLUSTER_FLAGS, "--namespace", "--output", *(["--timeout"] if places[:1] == ["watch"] else [])]
    match places:
        case []:
            return cli.COMMANDS
        case [_]:
            return [name for _, name in kubectl.model_services()]
        case ["promote" | "rollback", name]:
            return [str(each["name"]) for each in words.status_of(kubectl.get(name)).get("revisions") or ()]
    return []


def _read(before: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split words into flags with their values and the rest."""
    given, places = {}, []
    rest = iter(before)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag.startswith("-"):
            given["--namespace" if flag == "-n" else flag] = value if equals else next(rest, "")
        else:
            places.append(word)
    return given, places
