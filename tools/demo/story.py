"""From nothing to an answer: cluster, training, operator, ModelService, one request."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cluster import binaries, cli, drivers
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.kind import NODE_PORT, Kind
from cluster.progress import say, step
from demo import ask, stage
from demo.kubectl import Kubectl, Manifest
from demo.picture import answer, picture
from images.build import IMAGES, build

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
MODEL = "digits"
_JOB = f"train-{MODEL}"
_RELEASE = "modelservice-operator"
_NAMESPACE = "modelservice-system"
_PATIENCE_SECONDS = 300


def tell(cluster: str = "demo", driver: str = "") -> dict[str, object]:
    """Do all of it; what is there already is not done again. Return what was asked and answered, and by whom."""
    began = time.monotonic()
    home = Home(cluster)
    operator, server = IMAGES
    with ThreadPoolExecutor() as pool:
        images = pool.submit(build, IMAGES, {})
        programs = pool.submit(_cluster_and_programs, cluster, driver)
        digit, label, tables = _digits()
        kubectl = Kubectl(programs.result()["kubectl"], home.kubeconfig)
        images.result()
        server_is_loaded = pool.submit(_cluster, cluster, "load-image", str(server.archive))
        _cluster(cluster, "load-image", str(operator.archive))
        _install(programs.result()["helm"], kubectl, home, operator.record)
        server_is_loaded.result()
    _train(kubectl, home, tables)
    _serve(kubectl)
    service, pod = kubectl.get("service", MODEL), _answering_pod(kubectl)
    post = _way_in(home, kubectl, service)
    asked = time.monotonic()
    scores = ask.scores(post, MODEL, digit)
    took = time.monotonic() - asked
    predicted = max(range(len(scores)), key=scores.__getitem__)
    print(f"\nA digit that the model has not seen, which is a {label}:\n\n{picture(digit)}\n")
    print(f"The model says {answer(scores)}; asked through the Service {MODEL}, answered in {1000 * took:.0f} ms.\n")
    print(kubectl("get", "modelservice"))
    tool = "python3 tools/cluster"
    print(f'Go on with eval "$({tool} env --name {cluster})"; {tool} down --name {cluster} ends it.\n')
    seconds = round(time.monotonic() - began, 1)
    return {**_names(pod), "label": label, "predicted": predicted, "seconds": seconds}


def _cluster(name: str, *arguments: str) -> None:
    """Run a command of the cluster tool, which tells its errors itself."""
    if code := cli.main([*arguments, "--name", name]):
        raise ClusterError(f"`python3 tools/cluster {' '.join(arguments)}` ended with status {code}.")


def _cluster_and_programs(name: str, driver: str) -> dict[str, Path]:
    # Never somebody's own cluster: $KUBECONFIG may name one that is in earnest use.
    driver = driver or ("kind" if drivers.docker_and_kind(os.environ) else "node")
    _cluster(name, "up", "--profile=node", f"--driver={driver}")
    return binaries.paths(("kubectl", "helm"))


def _digits() -> tuple[list[int], int, Manifest]:
    """Write the tables; return the first digit that is held out, what it is, and the tables as a ConfigMap."""
    with step("writing the digits"), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, EXAMPLES / f"{MODEL}/data.py", folder], check=True)
        held_out = np.load(folder / "held-out.npz")
        tables = stage.tables(f"{MODEL}-data", sorted(folder.iterdir()))
        return [int(pixel) for pixel in held_out["x"][0]], int(held_out["y"][0]), tables


def _install(helm: Path, kubectl: Kubectl, home: Home, record: Path) -> None:
    with step("helm: installing the operator"):
        # All images have the tag `dev`: the annotation makes a pod of a new one.
        image = f"podAnnotations.image={json.loads(record.read_text())['key'][:12]}"
        chart = REPOSITORY / "charts/modelservice-operator"
        place = ("--kubeconfig", home.kubeconfig, "--namespace", _NAMESPACE, "--create-namespace")
        _run([helm, "upgrade", "--install", _RELEASE, chart, *place, "--set-string", image])
        there = f"--namespace={_NAMESPACE}"
        try:
            kubectl("rollout", "status", f"deployment/{_RELEASE}", there, "--timeout=90s")
        except ClusterError as error:
            said = kubectl("logs", f"deployment/{_RELEASE}", there, "--tail=20")
            raise ClusterError(f"{error}\nThe operator's last words:\n{said}") from error


def _run(command: Sequence[str | Path]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"{' '.join(map(str, command))}: {ended.stderr.strip()}")


def _train(kubectl: Kubectl, home: Home, tables: Manifest) -> None:
    with step("training the model in a Job"):
        if not stage.has_default_class(kubectl):
            folder = home.directory / "volumes/models"
            stage.make_room(folder)
            kubectl.apply(stage.volume("models", folder))
        kubectl.apply(tables)
        # One that failed, or was interrupted, would never be tried again.
        kubectl("delete", "jobs", f"--field-selector=metadata.name={_JOB},status.successful=0")
        kubectl("apply", "--filename", EXAMPLES / "models-claim.yaml", "--filename", EXAMPLES / f"{MODEL}/train.yaml")
        _wait_for_the_job(kubectl)
    judged = json.loads(kubectl("logs", f"job/{_JOB}").splitlines()[-1])["held_out"]
    say(f"trained: {judged['accuracy']:.1%} of {judged['rows']} digits that it has not seen are right")


def _wait_for_the_job(kubectl: Kubectl) -> None:
    for job in kubectl.watch("job", _JOB, seconds=_PATIENCE_SECONDS):
        status = _conditions(job)
        if status.get("Complete", {}).get("status") == "True":
            return
        if status.get("Failed", {}).get("status") == "True":
            raise ClusterError(f"The training failed:\n{kubectl('logs', f'job/{_JOB}')}")
    raise ClusterError(f"The training is not done after {_PATIENCE_SECONDS} s:\n{kubectl('describe', 'job', _JOB)}")


def _serve(kubectl: Kubectl) -> None:
    with step(f"serving it: examples/{MODEL}.yaml"):
        kubectl("apply", "--filename", EXAMPLES / f"{MODEL}.yaml")
        told = ""
        for service in kubectl.watch("modelservice", MODEL, seconds=_PATIENCE_SECONDS):
            ready = _conditions(service).get("Ready", {})
            if ready.get("observedGeneration") != service["metadata"]["generation"]:
                continue
            if told != (told := f"{ready['reason']}: {ready['message']}"):
                say(told)
            if ready["status"] == "True":
                return
        raise ClusterError(f"The ModelService is not Ready after {_PATIENCE_SECONDS} s. {told}")


def _way_in(home: Home, kubectl: Kubectl, service: Manifest) -> ask.Post:
    """Return how this machine reaches the Service: by its address, or by a port of kind's node."""
    if home.driver_name == "kind":
        kubectl.apply(ask.node_port(service, NODE_PORT))
        return ask.at(f"http://{Kind(home.directory).outside}")
    return ask.at(f"http://{service['spec']['clusterIP']}:{ask.port(service)}")


def _answering_pod(kubectl: Kubectl) -> Manifest:
    """Return the one pod to which the Service sends requests."""
    for _ in range(_PATIENCE_SECONDS):
        slices = kubectl.get("endpointslices", f"--selector=kubernetes.io/service-name={MODEL}")["items"]
        endpoints = [each for part in slices for each in part.get("endpoints") or () if each["conditions"].get("ready")]
        if len(endpoints) == 1:
            return kubectl.get("pod", endpoints[0]["targetRef"]["name"])
        time.sleep(1)
    raise ClusterError(f"The Service {MODEL} leads to {len(endpoints)} ready pods, not to one.")


def _names(pod: Manifest) -> dict[str, str]:
    meta = pod["metadata"]
    return {"pod": meta["name"], "revision": meta["labels"]["modelservice.dev/revision"]}


def _conditions(found: Manifest) -> dict[str, Manifest]:
    return {each["type"]: each for each in found.get("status", {}).get("conditions") or ()}
