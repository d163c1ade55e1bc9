"""Generated sequences of edits, many services at once, held against four rules.

1. The end is where a fresh service with the last spec ends.
2. Every changed field shows in a child or in the status.
3. A spec that cannot be acted on leaves the children alone, and the next good one recovers.
4. Once all is quiet, ten more looks write nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from controlplane.kubelet import DIGEST
from faults.admin import Admin, model_service, services
from faults.pods import GPU
from faults.state import State, differences, is_settled, states
from faults.world import world
from modelservice_operator.api import InvalidSpec, canonical, parse
from sizes import IS_FULL

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.controlplane import ControlPlane

Spec = dict[str, Any]

_SEQUENCES, _LONGEST = (60, 6) if IS_FULL else (10, 2)
_NAME = "m"
_PIN = re.compile("@sha256:[0-9a-f]{64}")
_LOOKS = 10


class Edit(NamedTuple):
    """One field gets a value, or (None) goes."""

    path: str
    value: Any


# An edit that breaks a rule of the API, such as `serving` beside a Custom runtime, is left out of its sequence.
_CUSTOM = {"name": "Custom", "image": "example/server:1", "metricsPath": "/metrics", "metricsPort": 9000}
_SCALINGS = [
    {"engine": "HPA", "maxReplicas": 3, "inflightPerReplica": 8},
    {"engine": "HPA", "maxReplicas": 4, "inflightPerReplica": 8},
    {"engine": "KEDA", "maxReplicas": 4, "inflightPerReplica": 8},
]
_FIELDS: dict[str, list[Any]] = {
    "model.uri": ["file:///models/one", "file:///models/two", "pvc://claim/models/three"],
    "model.name": [None, "other"],
    "model.digest": [None, DIGEST],
    "model.trust": [None, "Data", "Native"],
    "replicas": [0, 1, 2],
    "autoscaling": [None, *_SCALINGS],
    "runtime": [None, {"image": "example/own:1"}, _CUSTOM, _CUSTOM | {"readinessPath": "/r", "livenessPath": "/l"}],
    "runtime.args": [None, ["--drain-delay=1s"]],
    "runtime.port": [None, 8080, 8081],
    "runtime.env": [None, [{"name": "A", "value": "1"}], [{"name": "A", "value": "2"}]],
    "serving.maxBatchSize": [None, 64, 8],
    "serving.maxBatchDelay": [None, "0s", "5ms"],
    "serving.maxQueue": [None, 16],
    "serving.requestTimeout": [None, "10s", "500ms"],
    "accelerator": [None, {"resource": GPU}, {"resource": GPU, "count": 2}],
    "resources.requests.cpu": [None, "1", "1000m", "500m"],
    "resources.limits.memory": [None, "1Gi", "1024Mi", "2Gi"],
    "startupTimeout": [None, "10m", "1m"],
    "slo": [None, {"objectives": [{"name": "latency", "target": "99%", "threshold": "300ms"}]}],
    "service.type": [None, "ClusterIP", "NodePort"],
    "service.annotations": [None, {"example.com/a": "1"}, {"example.com/a": "2"}],
    "security.networkPolicy": [None, {"enabled": False}, {"allowFrom": [{"podSelector": {}}], "egress": "Restricted"}],
    "podTemplate.metadata.labels": [None, {"team": "a"}, {"team": "b"}],
    "podTemplate.metadata.annotations": [None, {"example.com/a": "1"}],
    "podTemplate.spec": [None, {"nodeSelector": {"kubernetes.io/os": "linux"}}, {"terminationGracePeriodSeconds": 99}],
}
_GOOD = st.sampled_from(sorted(_FIELDS)).flatmap(
    lambda path: st.sampled_from(_FIELDS[path]).map(lambda value: Edit(path, value))
)
_BAD = st.sampled_from(
    [
        Edit("accelerator", {"class": "none-such"}),
        Edit("podTemplate.spec", {"containers": [{"image": "sidecar"}]}),
    ]
)
_SEQUENCES_OF_EDITS = st.lists(st.one_of(_GOOD, _GOOD, _BAD), min_size=_LONGEST, max_size=_LONGEST)
_BAD_FIELDS = ("accelerator", "podTemplate.spec")


def generated() -> list[list[Edit]]:
    """Collect sequences first and live them together: one alone takes half a minute, most of it waiting."""
    found: list[list[Edit]] = []

    @settings(max_examples=_SEQUENCES, phases=[Phase.generate], database=None, derandomize=not IS_FULL)
    @given(_SEQUENCES_OF_EDITS)
    def collect(edits: list[Edit]) -> None:
        found.append(edits)

    collect()
    return [*found, [Edit("autoscaling", _SCALINGS[0]), Edit("autoscaling", _SCALINGS[-1])]]


def edited(spec: Spec, edit: Edit) -> Spec:
    """Return the spec with an edit."""
    name, _, rest = edit.path.partition(".")
    value = edited(spec.get(name, {}), Edit(rest, edit.value)) if rest else edit.value
    others = {field: kept for field, kept in spec.items() if field != name}
    return others if value in (None, {}) else others | {name: value}


def is_bad(spec: Spec) -> bool:
    """Tell whether the operator cannot act on the spec; the API server takes it."""
    return "class" in spec.get("accelerator", {}) or "containers" in (spec.get("podTemplate") or {}).get("spec", {})


def stories() -> list[list[Spec]]:
    """Return the specs of each sequence, the last of which is a good one."""
    found = []
    for edits in generated():
        specs: list[Spec] = [{"model": {"uri": "file:///models/one"}, "replicas": 1}]
        for edit in edits:
            spec = edited(mended(specs[-1]), edit)  # what is bad is mended with the edit after it
            with suppress(InvalidSpec):
                meaning(spec)
                specs.append(spec)
        found.append([*specs, mended(specs[-1])] if is_bad(specs[-1]) else specs)
    return found


def mended(spec: Spec) -> Spec:
    """Return a spec without what the operator cannot act on."""
    if is_bad(spec):
        for path in _BAD_FIELDS:
            spec = edited(spec, Edit(path, None))
    return spec


def children(state: State) -> State:
    """Return what the operator has made, the ledger's and the pins' history left aside."""
    kinds = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler", "pods"}
    return {name: body for name, body in state.items() if name.split()[0] in kinds}


def shown(state: State) -> State:
    """Return all in which a changed field can show, but for the generation and revision, which show any change."""
    found = children(state) | {"status": deepcopy(state[f"ModelService {_NAME}"]["status"])}
    del found["status"]["observedGeneration"]
    found["status"].pop("history", None)  # tells of the way there
    for condition in found["status"]["conditions"]:
        del condition["observedGeneration"]
    text = json.dumps(found)
    for number, revision in enumerate(found["status"]["revisions"]):
        text = text.replace(revision["name"], f"REVISION {number}")
    anonymous: State = json.loads(text)
    return anonymous


def unpinned(state: State) -> State:
    """Return a state without the digests that fetches have found."""
    found: State = json.loads(_PIN.sub("", json.dumps(state)))
    return found


async def claim(admin: Admin, namespace: str) -> None:
    """Create the claim that a spec may name, with its volume: without one no pod would be scheduled."""
    common = {"storageClassName": "", "accessModes": ["ReadOnlyMany"]}
    volume = {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/models"}}
    await admin.create("/api/v1/persistentvolumes", {"metadata": {"name": namespace}, "spec": common | volume})
    wanted = {"volumeName": namespace, "resources": {"requests": {"storage": "1Gi"}}}
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    await admin.create(path, {"metadata": {"name": "claim"}, "spec": common | wanted})


async def apply(admin: Admin, namespace: str, spec: Spec) -> None:
    await admin.apply(services(namespace, _NAME), model_service(_NAME, spec))


def test_generated_edits_keep_the_four_rules(plane: ControlPlane, tmp_path: Path) -> None:
    told = {f"edits-{number}": specs for number, specs in enumerate(stories())}
    fresh = {f"fresh-{number}": specs[-1] for number, specs in enumerate(told.values())}

    def settled(found: dict[str, State], wanted: dict[str, Spec]) -> bool:
        return all(is_settled(found.get(namespace, {})) for namespace in wanted)

    async def story() -> None:
        async with world(plane, tmp_path) as here:
            await here.admin.namespaces([*told, *fresh])
            await asyncio.gather(*(claim(here.admin, namespace) for namespace in (*told, *fresh)))
            here.proxy.begin("edits", [*told, *fresh])
            await asyncio.gather(*(apply(here.admin, namespace, spec) for namespace, spec in fresh.items()))
            before: dict[str, State] = {}
            now: dict[str, State] = {}
            good: dict[str, Spec] = {}
            for turn in range(max(map(len, told.values()))):
                wanted = {namespace: specs[turn] for namespace, specs in told.items() if turn < len(specs)}
                await asyncio.gather(*(apply(here.admin, namespace, spec) for namespace, spec in wanted.items()))
                found = await here.until(lambda found, wanted=wanted: settled(found, wanted))
                if found is None:
                    now = await states(here.admin)
                    stuck = [now.get(name) for name in wanted if not is_settled(now.get(name, {}))]
                    pytest.fail(f"turn {turn} never ends for {stuck[:1]}: {here.words()}")
                before, now = now, found
                for namespace, spec in wanted.items():
                    if is_bad(spec):
                        assert children(now[namespace]) == children(before[namespace]), (namespace, turn, spec)
                        status = now[namespace][f"ModelService {_NAME}"]["status"]
                        assert "Stalled" in {each["type"] for each in status["conditions"]}, (namespace, turn, spec)
                        continue
                    same = namespace in good and meaning(good[namespace]) == meaning(spec)
                    if namespace in good and not same:
                        assert shown(now[namespace]) != shown(before[namespace]), (
                            namespace,
                            turn,
                            good[namespace],
                            spec,
                        )
                    good[namespace] = spec
            for namespace, twin in zip(told, fresh, strict=True):
                end, anew = shown(now[namespace]), shown(now[twin])
                if told[namespace][-1].get("replicas") == 0:  # no pod of the twin has ever fetched the model
                    end, anew = unpinned(end), unpinned(anew)
                assert end == anew, (namespace, differences(end, anew))
            await looks_write_nothing(here, list(told))

    async def looks_write_nothing(here: Any, namespaces: list[str]) -> None:  # noqa: ANN401 (a World)
        written = len(here.proxy.writes)
        for look in range(_LOOKS):
            note = {"metadata": {"annotations": {"example.com/look": str(look)}}}
            await asyncio.gather(*(here.admin.merge(services(name, _NAME), note) for name in namespaces))
        await here.until(lambda _: here.operator.is_idle())
        assert here.proxy.writes[written:] == []

    asyncio.run(story())


def meaning(spec: Spec) -> object:
    """Return a spec without the spellings of it: defaults that are written out, 1000m for 1."""
    return canonical(parse(model_service(_NAME, spec)))
