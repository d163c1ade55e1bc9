"""Where metrics are read: of pods whose server is up, each by its own revision's port, path and names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelservice_operator.monitoring.readings import Pod
from modelservice_operator.monitoring.targets import Target, targets
from modelservice_operator.render.pod import pod_template
from modelservice_operator.rollout import revision
from modelservice_operator.rollout.situation import Entry
from modelservice_operator.slo.metrics import TORCH, VLLM, Metrics
from unit.operator.makers import CONFIG, container, parsed, pod

Body = dict[str, Any]

START = "2026-01-01T00:00:09Z"
VLLM_SPEC = {"runtime": {"name": "VLLM", "image": "v:1", "port": 8000}}
CUSTOM_SPEC = {
    "runtime": {
        "name": "Custom",
        "image": "c:1",
        "metricsPort": 9100,
        "metricsPath": "/stats?all=1",
        "metrics": {"latency": "rpc_seconds"},
    }
}


def recorded(name: str = "m-1", **spec: object) -> Entry:
    wish = parsed(**spec)
    return Entry(name, 1, spec=revision.shape(wish, ""), template=pod_template("m", name, wish, CONFIG))


def up(of: str = "m-1", name: str = "m-1-x", address: str = "10.0.0.7", **status: object) -> Body:
    server = container(up=True, running={"startedAt": START})
    return pod(of, name, podIP=address, containerStatuses=[container("proxy", up=True, running={}), server], **status)


def urls(spec: Body, entries: list[Entry], *pods: Body) -> list[str]:
    return [target.url for target in targets(parsed(**spec), entries, pods)]


def test_the_torch_server_is_read_on_its_metrics_port() -> None:
    [found] = targets(parsed(), [recorded()], [up()])
    assert found == Target(Pod("m-1-x", "m-1", START), "http://10.0.0.7:9090/metrics", TORCH)


def test_an_address_may_be_of_the_newer_kind() -> None:
    assert urls({}, [recorded()], up(address="fd00::7")) == ["http://[fd00::7]:9090/metrics"]


def test_vllm_is_read_on_its_only_port() -> None:
    [found] = targets(parsed(**VLLM_SPEC), [recorded(**VLLM_SPEC)], [up()])
    assert (found.url, found.metrics) == ("http://10.0.0.7:8000/metrics", VLLM)


def test_a_custom_server_is_read_where_the_user_says() -> None:
    [found] = targets(parsed(**CUSTOM_SPEC), [recorded(**CUSTOM_SPEC)], [up()])
    assert (found.url, found.metrics) == ("http://10.0.0.7:9100/stats?all=1", Metrics(latency="rpc_seconds"))
    silent = {"runtime": {"name": "Custom", "image": "c:1"}}
    assert not targets(parsed(**silent), [recorded(**silent)], [up()])


def test_a_revision_of_an_earlier_runtime_is_read_as_what_it_is() -> None:
    entries = [recorded("m-1"), recorded("m-2", **VLLM_SPEC), recorded("m-3", **CUSTOM_SPEC)]
    pods = [up("m-1", "a"), up("m-2", "b"), up("m-3", "c"), up("m-4", "d")]
    found = {
        each.pod.revision: (each.url.partition(":9")[2], each.metrics) for each in targets(parsed(), entries, pods)
    }
    assert found == {"m-1": ("090/metrics", TORCH), "m-2": ("", VLLM)}, "nobody has named the metrics of the third"


def test_a_runtime_that_only_a_newer_version_knows_is_not_read() -> None:
    newer = recorded()
    assert urls({}, [replace(newer, spec=newer.spec | {"runtime": {"name": "Newer"}})], up()) == []


def test_pods_that_cannot_answer_are_not_asked() -> None:
    starting = container(running={"startedAt": START})
    ended = container(terminated={"exitCode": 1, "startedAt": START})
    cannot = [
        {**up(), "status": {}},
        up(address=""),
        pod(podIP="10.0.0.7", containerStatuses=[starting]),
        pod(podIP="10.0.0.7", containerStatuses=[ended]),
        pod(podIP="10.0.0.7", containerStatuses=[container("proxy", up=True, running={"startedAt": START})]),
    ]
    assert urls({}, [recorded()], *cannot) == []


def test_a_pod_on_its_way_out_still_tells() -> None:
    leaving = up()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    assert len(urls({}, [recorded()], leaving)) == 1
