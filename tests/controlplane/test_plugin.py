"""`kubectl modelservice`, found and run by a real kubectl: what each command does, and what it says to mistakes.

No operator runs here: what one would have written into a status is written by hand.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cluster import ports
from cluster.access import Access
from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd, kubectl_of
from controlplane.services import Services
from controlplane.shell import Shell, install
from modelservice_operator import names
from modelservice_operator.plugin.acts import ACTS
from modelservice_operator.plugin.cli import COMMANDS
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

Body = dict[str, Any]

STABLE, CANDIDATE = "digits-stable0000", "digits-next000000"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder to which somebody has copied the plugin."""
    folder = tmp_path_factory.mktemp("plugins")
    program = install(folder)
    (folder / "kubectl_complete-modelservice").symlink_to(program)
    return folder


@pytest.fixture(scope="module")
def shell(control_plane: ControlPlane, plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(plugins, control_plane.kubeconfig, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def services(control_plane: ControlPlane) -> Services:
    """A namespace in which jane may look and not touch."""
    kubectl = kubectl_of(control_plane)
    found = Services(kubectl, f"test-{uuid.uuid4().hex[:10]}")
    kubectl("create", "namespace", found.namespace)
    found.kubectl("create", "role", "look", "--verb=get,list,watch", f"--resource=modelservices.{names.GROUP},pods")
    found.kubectl("create", "rolebinding", "look", "--role=look", "--user=jane")
    return found


def revision(name: str, role: str, ready: int, replicas: int, weight: str) -> Body:
    model = {"model": f"s3://models/{name}", "weight": weight}
    return {"name": name, "role": role, "replicas": replicas, "ready": ready, **model}


def condition(kind: str, status: str, reason: str, message: str) -> Body:
    found = {"type": kind, "status": status, "reason": reason, "message": message}
    return found | {"observedGeneration": 1, "lastTransitionTime": "2026-11-28T09:00:00Z"}


def decided(name: str, decision: str, **more: object) -> Body:
    return {"revision": name, "decision": decision, "decidedTime": "2026-11-27T09:00:00Z", **more}


READY = condition("Ready", "True", "Ready", f"Revision {STABLE} serves.")
ROLLING = condition("Ready", "False", "RollingOut", "Waiting for the next pod.")
STALLED = condition("Stalled", "True", "GateFailed", "f1 is 0.71, and 0.90 is the least.")
SETTLED: Body = {
    "conditions": [READY],
    "revisions": [revision(STABLE, "Stable", 2, 2, "100%")],
    "rollout": None,
}
ON_ITS_WAY: Body = {
    "conditions": [ROLLING],
    "revisions": [revision(STABLE, "Stable", 2, 2, "67%"), revision(CANDIDATE, "Candidate", 1, 2, "33%")],
    "rollout": {
        "phase": "Analysing",
        "revision": CANDIDATE,
        "step": 1,
        "gates": [
            {"name": "f1", "verdict": "Passed", "value": "0.914", "limit": "0.90"},
            {"name": "latency_p95", "verdict": "Pending", "limit": "50ms"},
        ],
    },
    "history": [
        decided("digits-failed0000", "Failed", reason="GateFailed", message="f1 is 0.71.", measured={"f1": "0.71"}),
        decided(STABLE, "Promoted", reason="Passed", message="", measured={"f1": "0.90"}),
    ],
}


def write(services: Services, name: str, status: Body) -> None:
    """Write a status as the operator does."""
    patch = json.dumps({"status": {"observedGeneration": 1} | status})
    services.kubectl("patch", "modelservice", name, "--subresource=status", "--type=merge", f"--patch={patch}")


REFUSED = ON_ITS_WAY | {"rollout": {"phase": "Failed", "revision": CANDIDATE}}


@pytest.fixture
def on_its_way(services: Services) -> str:
    """A ModelService in the middle of a rollout."""
    return given(services, ON_ITS_WAY)


@pytest.fixture
def settled(services: Services) -> str:
    """A ModelService whose latest spec is in force."""
    return given(services, SETTLED)


def given(services: Services, status: Body) -> str:
    name = f"digits-{uuid.uuid4().hex[:8]}"
    services.apply(name)
    write(services, name, status)
    return name


def here(services: Services) -> str:
    return f"--namespace={services.namespace}"


# -- looking


def test_status_is_a_tree_of_revisions_and_pods(shell: Shell, services: Services, on_its_way: str) -> None:
    labels = {names.NAME: on_its_way, names.REVISION: CANDIDATE}
    spec = {"containers": [{"name": "server", "image": "example/server:1"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{on_its_way}-x", "labels": labels}, "spec": spec}
    services.kubectl("create", "-f", "-", stdin=body)
    waits = {
        "reason": "Unschedulable",
        "message": "0/3 nodes are available.",
        "type": "PodScheduled",
        "status": "False",
    }
    patch = json.dumps({"status": {"conditions": [waits]}})
    services.kubectl("patch", "pod", f"{on_its_way}-x", "--subresource=status", f"--patch={patch}")

    told = shell.answer("status", on_its_way, "-n", services.namespace).splitlines()
    assert told == [
        f"{on_its_way} in namespace {services.namespace}",
        "  Ready  False  RollingOut: Waiting for the next pod.",
        f"Rollout of {CANDIDATE}: Analysing, step 1",
        "  f1           Passed   0.914, limit 0.90",
        "  latency_p95  Pending  limit 50ms",
        "Revisions",
        f"├─ {STABLE}  Stable     2/2 ready  67%  s3://models/{STABLE}",
        f"└─ {CANDIDATE}  Candidate  1/2 ready  33%  s3://models/{CANDIDATE}",
        f"   └─ {on_its_way}-x  Unschedulable  0/3 nodes are available.",
        "Last decision: digits-failed0000 Failed, GateFailed: f1 is 0.71.",
    ]
    as_object = json.loads(shell.answer("status", on_its_way, here(services), "-o", "json"))
    assert as_object["name"] == on_its_way
    assert [each["name"] for each in as_object["revisions"][1]["pods"]] == [f"{on_its_way}-x"]
    assert as_object["rollout"] == ON_ITS_WAY["rollout"]


def test_history_tells_what_was_decided(shell: Shell, services: Services, on_its_way: str, settled: str) -> None:
    head, failed, why, promoted = shell.answer("history", on_its_way, here(services)).splitlines()
    assert head.split() == ["TIME", "REVISION", "DECISION", "REASON", "MEASURED"]
    assert failed.split() == ["2026-11-27T09:00:00Z", "digits-failed0000", "Failed", "GateFailed", "f1", "0.71"]
    assert why == "  f1 is 0.71."
    assert "Promoted" in promoted
    assert json.loads(shell.answer("history", on_its_way, here(services), "--output=json")) == ON_ITS_WAY["history"]
    assert shell.answer("history", settled, here(services)) == f"Nothing was decided about {settled} yet.\n"


def test_colours_are_for_terminals(shell: Shell, services: Services, settled: str) -> None:
    def on_terminal(**more: str) -> str:
        ours, theirs = pty.openpty()
        command = ["kubectl", "modelservice", "status", settled, here(services)]
        environment = shell.environment | {"TERM": "xterm", "NO_COLOR": ""} | more
        subprocess.run(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, check=True)
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # how the end of a terminal reads on Linux
            pass
        os.close(ours)
        return shown.decode()

    assert "\033[32mTrue\033[0m" in on_terminal()
    assert "\033" not in on_terminal(NO_COLOR="1")
    assert "\033" not in shell.answer("status", settled, here(services))


# -- watching


@contextmanager
def watched(shell: Shell, folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """Start a watch, and give its process and what it prints and says."""
    said, complained = folder / "said", folder / "complained"
    with said.open("wb") as out, complained.open("wb") as err:
        command = ["kubectl", "modelservice", "watch", *arguments]
        process = subprocess.Popen(command, env=shell.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    try:
        yield process, said, complained
    finally:
        process.terminate()
        process.wait()


def has(file: Path, words: str) -> bool:
    text = file.read_text()
    assert words in text, text
    return True


def test_watch_tells_each_change_until_the_spec_is_in_force(
    shell: Shell, services: Services, on_its_way: str, tmp_path: Path
) -> None:
    with watched(shell, tmp_path, on_its_way, here(services), "--timeout=5m") as (process, said, complained):
        until(lambda: has(said, f"Rollout of {CANDIDATE}: Analysing"), "the first look is told")
        ready = [revision(STABLE, "Stable", 1, 1, "33%"), revision(CANDIDATE, "Candidate", 2, 2, "67%")]
        write(services, on_its_way, {"revisions": ready})
        until(lambda: has(said, f"{CANDIDATE}: Candidate, 2 of 2 pods ready, 67% of the requests"), "progress is told")
        write(services, on_its_way, {"conditions": [READY], "rollout": None})
        assert process.wait(60) == 0
    assert "Ready True, Ready" in said.read_text().splitlines()[-1]
    assert complained.read_text() == ""


def test_watch_fails_when_somebody_must_act(shell: Shell, services: Services, on_its_way: str, tmp_path: Path) -> None:
    with watched(shell, tmp_path, on_its_way, here(services), "-o", "json") as (process, said, complained):
        until(lambda: has(said, "Rollout of"), "the first look is told")
        write(services, on_its_way, {"conditions": [ROLLING, STALLED]})
        assert process.wait(60) == 3
    assert complained.read_text() == "Stalled, GateFailed: f1 is 0.71, and 0.90 is the least.\n"
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert all(line.keys() == {"time", "about", "message"} for line in lines)
    assert "rollout" in {line["about"] for line in lines}


def test_watch_gives_up_after_its_time(shell: Shell, services: Services, on_its_way: str) -> None:
    done = shell.run("watch", on_its_way, here(services), "--timeout=1s")
    assert (done.returncode, done.stderr) == (4, "Not ready after 1 s. RollingOut: Waiting for the next pod.\n")


def test_watch_of_what_is_ready_ends_by_itself(shell: Shell, services: Services, settled: str) -> None:
    assert f"Ready True, Ready: Revision {STABLE} serves." in shell.answer("watch", settled, here(services))


def test_watch_tells_of_a_deletion(shell: Shell, services: Services, on_its_way: str, tmp_path: Path) -> None:
    with watched(shell, tmp_path, on_its_way, here(services)) as (process, said, complained):
        until(lambda: has(said, "Rollout of"), "the first look is told")
        services.kubectl("delete", "modelservice", on_its_way)
        assert process.wait(60) == 1
    assert complained.read_text() == f"{on_its_way} was deleted while it was watched.\n"


def test_whoever_ends_a_watch_ends_all_of_it(shell: Shell, services: Services, on_its_way: str, tmp_path: Path) -> None:
    with watched(shell, tmp_path, on_its_way, here(services)) as (process, said, _):
        until(lambda: has(said, "Rollout of"), "the first look is told")
        [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.terminate()
        assert process.wait(60) == 143
        assert not Path(f"/proc/{child}").exists()


# -- acting


def test_a_pause_begins_and_ends(shell: Shell, services: Services, on_its_way: str) -> None:
    for command, is_paused in (("pause", True), ("resume", False)):
        assert shell.answer(command, on_its_way, here(services)).startswith(on_its_way)
        assert services.get("modelservice", on_its_way)["spec"]["rollout"]["paused"] is is_paused


@pytest.mark.parametrize(
    ("command", "annotation"),
    [
        ("promote", names.PROMOTE),
        ("rollback", names.ROLLBACK),
    ],
)
def test_a_command_names_the_revision_that_it_is_about(
    shell: Shell, services: Services, on_its_way: str, command: str, annotation: str
) -> None:
    told = json.loads(shell.answer(command, on_its_way, here(services), "-o", "json"))
    assert (told["name"], told["command"], told["revision"]) == (on_its_way, command, CANDIDATE)
    assert services.get("modelservice", on_its_way)["metadata"]["annotations"][annotation] == CANDIDATE
    managers = services.kubectl(
        "get",
        "modelservice",
        on_its_way,
        "--show-managed-fields",
        "-o",
        "jsonpath={.metadata.managedFields[*].manager}",
    )
    assert "kubectl-modelservice" in managers.split()


@pytest.mark.parametrize("command", ["restart", "retry"])
def test_a_command_is_marked_with_its_time(shell: Shell, services: Services, on_its_way: str, command: str) -> None:
    services.kubectl("annotate", "modelservice", on_its_way, f"{names.ROLLBACK}={CANDIDATE}")
    write(services, on_its_way, REFUSED)
    before = datetime.now(UTC).replace(microsecond=0)
    shell.answer(command, on_its_way, here(services))
    found = services.get("modelservice", on_its_way)["metadata"]["annotations"]
    assert before <= datetime.fromisoformat(found[f"{names.GROUP}/{command}"]) <= datetime.now(UTC)
    assert (names.ROLLBACK in found) is (command == "restart")  # a retry takes back what was given up


# -- mistakes


@pytest.fixture(scope="module")
def sound(services: Services) -> str:
    """A ModelService for commands that fail, and so leave it as it is."""
    return given(services, ON_ITS_WAY)


@pytest.fixture(scope="module")
def refused(services: Services) -> str:
    """The same, for a retry, which looks for something to forget first."""
    return given(services, REFUSED)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_does_not_exist_is_told_with_the_nearest(
    shell: Shell, services: Services, sound: str, command: str
) -> None:
    sentence = shell.refusal(command, f"{sound}x", here(services))
    assert sentence.startswith(f"There is no ModelService {sound}x in namespace {services.namespace}. Did you mean ")
    assert sound in sentence


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_right_is_told_with_its_verb(
    shell: Shell, services: Services, sound: str, refused: str, command: str
) -> None:
    user, verb = ("jane", "patch") if command in ACTS else ("nobody", "get")
    sentence = shell.refusal(command, refused if command == "retry" else sound, here(services), f"--as={user}")
    start = f"{user} may not {verb} modelservices.{names.GROUP} in namespace {services.namespace}. Ask an administrator"
    assert sentence.startswith(start)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_api_server_that_does_not_answer(
    shell: Shell, control_plane: ControlPlane, tmp_path: Path, command: str
) -> None:
    access = Access.read(control_plane.kubeconfig)
    [port] = ports.free(1)
    Access(f"https://127.0.0.1:{port}", access.authority, access.token).write(tmp_path / "kubeconfig")
    sentence = shell.refusal(command, "digits", f"--kubeconfig={tmp_path / 'kubeconfig'}")
    start = f"The API server does not answer: The connection to the server 127.0.0.1:{port} was refused. Is the right"
    assert sentence.startswith(start)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("promote",), "Nothing is on its way in that could be promoted: digits-stable0000 serves."),
        (("rollback",), "There is nothing to return to: no other revision of "),
        (
            ("rollback", "digits-nosuch0000"),
            "has no revision digits-nosuch0000; its status tells of digits-stable0000.",
        ),
        (("retry",), "was refused, so there is nothing to forget."),
    ],
)
def test_a_command_that_makes_no_sense_writes_nothing(
    shell: Shell, services: Services, settled: str, arguments: tuple[str, ...], words: str
) -> None:
    command, *revisions = arguments
    before = services.get("modelservice", settled)["metadata"]["resourceVersion"]
    assert words in shell.refusal(command, settled, *revisions, here(services))
    assert services.get("modelservice", settled)["metadata"]["resourceVersion"] == before


def test_a_wrong_namespace_is_told_with_the_right_one(shell: Shell, services: Services, settled: str) -> None:
    assert shell.refusal("status", settled, "--namespace=nowhere").startswith("There is no namespace nowhere.")
    sentence = shell.refusal("status", settled)
    assert sentence == (
        f"There is no ModelService {settled} in namespace default. There is one in {services.namespace}: "
        f"give -n {services.namespace}."
    )


def test_a_context_or_file_that_does_not_exist(shell: Shell) -> None:
    assert "`kubectl config get-contexts` lists" in shell.refusal("status", "digits", "--context=nope")
    assert "--kubeconfig" in shell.refusal("status", "digits", "--kubeconfig=/nope")


# -- on a server of its own


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without our definition, for tests that break something."""
    with ControlPlane(tmp_path_factory.mktemp("bare") / "cluster") as plane:
        yield plane


def test_a_cluster_without_the_definition(bare: ControlPlane, plugins: Path, tmp_path: Path) -> None:
    shell = Shell(plugins, bare.kubeconfig, tmp_path)
    for command in COMMANDS:
        assert "install the operator: its chart brings the definition" in shell.refusal(command, "digits")


def test_watch_outlives_the_api_server(bare: ControlPlane, plugins: Path, tmp_path: Path) -> None:
    install_crd(bare)
    services = Services(kubectl_of(bare), "default")
    name = given(services, ON_ITS_WAY)
    shell = Shell(plugins, bare.kubeconfig, tmp_path / "cache")
    with watched(shell, tmp_path, name) as (process, said, complained):
        until(lambda: has(said, "Rollout of"), "the first look is told")
        bare.kill_api()
        until(lambda: has(complained, "does not answer"), "the outage is told")
        bare.start_api()
        until(lambda: write(services, name, SETTLED) is None, "the status can be written")
        assert process.wait(60) == 0
    assert "Ready True" in said.read_text()
    assert len(complained.read_text().splitlines()) == 1


# -- finding it


def test_tab_offers_what_is_there(shell: Shell, services: Services, on_its_way: str) -> None:
    def offered(*words: str) -> list[str]:
        command = ["kubectl", "__completeNoDesc", "modelservice", *words]
        done = subprocess.run(command, env=shell.environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert offered("re") == ["resume", "retry", "restart", ":4"]
    assert on_its_way in offered("-n", services.namespace, "status", on_its_way[:-2])
    assert offered("promote", on_its_way, here(services), "digits-n") == [CANDIDATE, ":4"]
    assert services.namespace in offered("status", "-n", services.namespace[:8])


def test_the_installed_package_has_it_too(control_plane: ControlPlane, tmp_path: Path) -> None:
    """Without the folder of the copy, kubectl finds the entry point beside this Python."""
    shell = Shell(tmp_path, control_plane.kubeconfig, tmp_path)
    told = shell.answer("--help")
    assert all(command in told for command in COMMANDS)
