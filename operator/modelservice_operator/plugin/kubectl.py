"""The way to the API server: kubectl as a program, its answers as objects and its errors as sentences."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelservice_operator import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modelservice_operator.plugin.words import Body

KIND: Final = f"modelservices.v1alpha1.{names.GROUP}"
FIELD_MANAGER: Final = "kubectl-modelservice"

_TICK_SECONDS: Final = 1.0
_NAMES: Final = r'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}'
_LOG: Final = re.compile(r"^[EWIF]\d{4} ")  # what kubectl's libraries log on the way
_UNREACHABLE: Final = re.compile(
    r"^(The connection to the server|Unable to connect)|dial tcp|i/o timeout|\bEOF$"
    r"|\((InternalError|ServiceUnavailable|ServerTimeout|Timeout|TooManyRequests)\)"
)
_KUBECTL_ASKS: Final = " - did you specify the right host or port?"
_NO_CONTEXT: Final = re.compile("context was not found|context .* does not exist|no such file or directory")
_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"'
    r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class KubectlError(Exception):
    """Something cannot be had or done; the message says what to do about it."""


class NotFoundError(KubectlError):
    """There is no such object."""


class ForbiddenError(KubectlError):
    """We have no right to this."""


class UnreachableError(KubectlError):
    """The API server does not answer; it may later."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the flags that say which cluster and namespace are meant."""

    flags: tuple[str, ...] = ()
    namespace: str = ""
    """Empty: that of the context."""

    def get(self, name: str) -> Body:
        """Read a ModelService."""
        return self._object("get", KIND, name, "--output=json")

    def merge(self, name: str, patch: Body) -> Body:
        """Merge a patch into a ModelService, and return it."""
        manager = f"--field-manager={FIELD_MANAGER}"
        return self._object(
            "patch", KIND, name, "--type=merge", f"--patch={json.dumps(patch)}", manager, "--output=json"
        )

    def pods(self, name: str) -> list[Body]:
        """Read the pods of a ModelService."""
        found: list[Body] = self._object("get", "pods", f"--selector={names.NAME}={name}", "--output=json")["items"]
        return found

    def model_services(self, *, everywhere: bool = False) -> list[tuple[str, str]]:
        """List namespace and name of the ModelServices here or in all namespaces."""
        scope = ("--all-namespaces",) if everywhere else ()
        lines = self.run("get", KIND, *scope, f"--output={_NAMES}").splitlines()
        return [(namespace, name) for namespace, _, name in (line.partition("/") for line in lines)]

    def here(self) -> str:
        """Tell which namespace is meant."""
        try:
            return (
                self.namespace or self.run("config", "view", "--minify", "--output=jsonpath={..namespace}") or "default"
            )
        except KubectlError:
            return "default"

    def run(self, *arguments: str) -> str:
        """Run kubectl and return what it prints."""
        with _started(self._command(arguments)) as process:
            printed, said = process.communicate()
        if process.returncode:
            raise error_of(said)
        return printed

    def watch(self, name: str, say: Callable[[str], None]) -> Iterator[Body | None]:
        """Yield a ModelService now and whenever it changes, and None about once a second while it does not.

        It goes on when the connection is lost, after a word to `say`; it ends with an error when the object is deleted.
        """
        has_answered = is_silent = False
        while True:
            try:
                for event in self._events("get", KIND, name, "--watch", "--output-watch-events", "--output=json"):
                    if event is not None:
                        has_answered, is_silent = True, False
                        if event["type"] == "DELETED":
                            raise KubectlError(f"{name} was deleted while it was watched.")
                    yield event and event["object"]
            except UnreachableError as error:
                if not has_answered:
                    raise
                if not is_silent:
                    say(f"{error} Trying again.")
                is_silent = True
            time.sleep(_TICK_SECONDS)
            yield None

    def _events(self, *arguments: str) -> Iterator[Body | None]:
        """Yield what a watching kubectl prints, and None about once a second while it prints nothing."""
        heard: queue.SimpleQueue[Body | None] = queue.SimpleQueue()
        with _started(self._command(arguments)) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            assert process.stderr is not None  # noqa: S101 - it was asked for
            ears = threading.Thread(target=_hear, args=(process.stdout, heard.put), daemon=True)
            ears.start()
            try:
                while True:
                    try:
                        event = heard.get(timeout=_TICK_SECONDS)
                    except queue.Empty:
                        yield None
                        continue
                    if event is None:
                        break
                    yield event
                if process.wait():
                    raise error_of(process.stderr.read())
            finally:
                process.kill()
                ears.join()

    def _object(self, *arguments: str) -> Body:
        found: Body = json.loads(self.run(*arguments))
        return found

    def _command(self, arguments: Sequence[str]) -> list[str]:
        namespace = (f"--namespace={self.namespace}",) if self.namespace else ()
        return ["kubectl", *self.flags, *namespace, *arguments]


def _started(command: list[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise KubectlError("There is no kubectl on the PATH; this plugin asks the API server through it.") from error


def _hear(lines: Iterator[str], put: Callable[[Body | None], None]) -> None:
    """Pass on each object of a stream of JSON; only a line that ends one begins with a brace and ends with one."""
    text = ""
    for line in lines:
        text += line
        if line.startswith(("{", "}")) and line.rstrip().endswith("}"):
            put(json.loads(text))
            text = ""
    put(None)


# -- errors


def error_of(said: str) -> KubectlError:
    """Make a sentence with what to do of what kubectl said on standard error."""
    words = " ".join(line for line in said.splitlines() if not _LOG.match(line)).strip() or said.strip()
    if "doesn't have a resource type" in words or "could not find the requested resource" in words:
        return KubectlError(
            f"The cluster knows no ModelService ({names.GROUP}/v1alpha1). Is the right context chosen (--context, "
            "`kubectl config current-context`)? If so, install the operator: its chart brings the definition."
        )
    if "(NotFound)" in words:
        return NotFoundError(_server_says(words))
    if "(Forbidden)" in words:
        return ForbiddenError(_forbidden(words))
    if "You must be logged in" in words or "(Unauthorized)" in words:
        return KubectlError(
            "The API server does not accept your credentials. Log in again, or choose another --context."
        )
    if _UNREACHABLE.search(words):
        return UnreachableError(
            f"The API server does not answer: {words.removesuffix(_KUBECTL_ASKS)}. Is the right context chosen "
            "(--context, `kubectl config current-context`), and does `kubectl version` get through?"
        )
    if _NO_CONTEXT.search(words):
        return KubectlError(
            f"kubectl says: {_server_says(words)}. Choose a context that `kubectl config get-contexts` lists, of a "
            "file that is there (--kubeconfig, $KUBECONFIG)."
        )
    return KubectlError(f"kubectl says: {_server_says(words) or 'nothing, and fails.'}")


def _forbidden(words: str) -> str:
    if not (found := _FORBIDDEN.search(words)):
        return f"The API server refuses this: {_server_says(words)}"  # an admission policy, in its own words
    resource = ".".join(filter(None, (found["resource"], found["group"])))
    place = f" in namespace {found['namespace']}" if found["namespace"] else ""
    option = f" -n {found['namespace']}" if found["namespace"] else ""
    return (
        f"{found['user']} may not {found['verb']} {resource}{place}. Ask an administrator for that right; with the "
        "chart, the cluster's role `view` has those to look, `edit` those to act. "
        f"`kubectl auth can-i {found['verb']} {resource}{option}` tells whether you have it."
    )


def _server_says(words: str) -> str:
    return re.sub(r"^(Error from server( \(\w+\))?|error|Error in configuration): ", "", words)
