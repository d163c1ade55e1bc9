"""The operator on a real API server, with real controllers and scheduler and the rights that the chart gives it."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from cluster import binaries
from controlplane.kubelet import DIGEST, Kubelet, crashing, serving
from waiting import until

if TYPE_CHECKING:
    from cluster.controlplane import ControlPlane
    from controlplane.operator_process import OperatorProcess
    from controlplane.services import Services

    Object = dict[str, Any]


def test_a_service_becomes_ready_with_its_children(services: Services) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True", "Ready")
    service = services.get("modelservice")
    assert service["status"]["observedGeneration"] == service["metadata"]["generation"]
    assert service["status"]["readyReplicas"] == 2
    assert service["status"]["url"] == f"http://m.{services.namespace}.svc:8080"
    revision = service["status"]["revisions"][0]
    assert revision["role"] == "Stable"
    assert services.get("service")["spec"]["selector"]["modelservice.dev/revision"] == revision["name"]
    pin = services.get("configmap", revision["name"])
    assert revision["model"] == f"file:///models/m@{pin['data']['digest']}"


def test_metadata_of_people_rolls_no_pod_and_writes_nothing(services: Services, operator: OperatorProcess) -> None:
    services.apply(resources={"requests": {"cpu": "1000m", "memory": "1Gi"}})
    services.until("Ready", "True")
    before, sent = services.template_versions(), operator.writes()
    services.kubectl("annotate", "modelservice", "m", "note=hello")
    services.kubectl("label", "modelservice", "m", "team=nlp")
    services.apply(resources={"requests": {"cpu": 1, "memory": "1024Mi"}}, startupTimeout="600s")
    services.until("Ready", "True")
    assert services.template_versions() == before
    assert operator.writes() - sent <= 1  # the new observedGeneration


def test_a_restart_writes_nothing(services: Services, operator: OperatorProcess) -> None:
    services.apply(replicas=2)
    services.apply("other", runtime={"name": "Custom", "image": "example/server:1", "metricsPath": "/m"})
    services.until("Ready", "True")
    services.until("Ready", "True", name="other")
    versions = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in services.all("all")}
    operator.kill()
    operator.start()
    services.kubectl("annotate", "modelservice", "m", "look=again")  # looked at after everything else was
    services.kubectl("annotate", "modelservice", "other", "look=again")
    until(operator.is_idle, "the operator has looked at everything")
    assert operator.writes() == 0
    after = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in services.all("all")}
    annotated = {each["metadata"]["uid"] for each in services.all("modelservices")}
    assert {uid: v for uid, v in after.items() if uid not in annotated} == {
        uid: v for uid, v in versions.items() if uid not in annotated
    }


def test_a_foreign_service_of_the_name_is_left_alone_and_named(services: Services) -> None:
    services.kubectl("create", "service", "clusterip", "m", "--tcp=80:80")
    foreign = services.get("service")
    services.apply()
    stalled = services.until("Stalled", "True", "NameConflict")
    assert "Service 'm'" in stalled["message"]
    services.until("Ready", "False", "NameConflict")
    assert services.get("service") == foreign
    services.kubectl("delete", "service", "m")
    services.kubectl("annotate", "modelservice", "m", "try=again")
    services.until("Ready", "True")


def test_a_foreign_service_is_taken_over_when_its_owner_hands_it_over(services: Services) -> None:
    services.kubectl("create", "service", "clusterip", "m", "--tcp=8080:8080")
    services.kubectl("annotate", "service", "m", "modelservice.dev/adopt=m")
    services.apply()
    services.until("Ready", "True")
    assert services.get("service")["metadata"]["ownerReferences"][0]["kind"] == "ModelService"


def test_an_unknown_accelerator_class_is_told_and_the_old_revision_serves_on(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    services.apply(accelerator={"class": "nvidia-l4"})
    stalled = services.until("Stalled", "True", "UnknownAcceleratorClass")
    assert '"nvidia-l4" is not defined; the administrator\'s classes are: nvidia-t4' in stalled["message"]
    assert services.condition("Available")["status"] == "True"
    services.kubectl("scale", "modelservice", "m", "--replicas=2")  # goes on although the spec cannot be met
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "two pods are ready")
    services.apply(accelerator={"class": "nvidia-t4"})
    services.until("Ready", "True")


def test_a_limit_that_comes_later_refuses_what_is_new_and_stops_nothing(
    services: Services, operator: OperatorProcess
) -> None:
    native = {"model": {"uri": "file:///models/m", "trust": "Native"}}
    services.apply(**native)
    services.until("Ready", "True")
    before, settings = services.template_versions(), operator.config.read_text()
    operator.stop()
    operator.config.write_text(json.dumps(json.loads(settings) | {"limits": {"trust": ["Data"], "alerting": []}}))
    operator.start()
    try:
        assert "would be refused today" in services.until("TemplateOutdated", "True")["message"]
        services.until("Ready", "True")
        services.apply(**native, runtime={"args": ["--x"]}, replicas=2)
        stalled = services.until("Stalled", "True", "NotAllowed")
        assert stalled["message"] == (
            'spec.model.trust "Native" is not allowed by the administrator; allowed are: Data (values.yaml: '
            "limits.trust)."
        )
        until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "the old revision is scaled")
        assert services.template_versions().keys() == before.keys()
        services.apply(runtime={"args": ["--x"]})
        services.until("Ready", "True")
        receiver = {"webhook": {"urlSecretRef": {"name": "s", "key": "k"}}}
        # Was let in before, but for the receiver.
        services.apply(**native, monitoring={"alerting": {"receiver": receiver}})
        services.until("Ready", "True")
        assert "(values.yaml: limits.alerting)" in services.until("Monitored", "False", "NotAllowed")["message"]
    finally:
        operator.stop()
        operator.config.write_text(settings)
        operator.start()


def test_a_bad_overlay_is_told_and_a_mended_one_recovers(services: Services) -> None:
    services.apply(podTemplate={"spec": {"containers": [{"image": "sidecar"}]}})
    assert "needs name" in services.until("Stalled", "True", "BadOverlay")["message"]
    services.apply(podTemplate={"spec": {"containers": [{"name": "server", "tty": "perhaps"}]}})
    assert "tty" in services.until("Stalled", "True", "Rejected")["message"]
    services.apply(podTemplate={"spec": {"nodeSelector": {"kubernetes.io/os": None}}})
    services.until("Ready", "True")


def test_a_new_revision_that_crashes_is_told_and_the_old_one_serves(services: Services, kubelet: Kubelet) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True")
    stable = services.get("modelservice")["status"]["revisions"][0]["name"]
    kubelet.state_of = lambda labels: (
        serving() if labels["modelservice.dev/revision"] == stable or "bad" not in labels else crashing("no such file")
    )
    services.apply(replicas=2, podTemplate={"metadata": {"labels": {"bad": "yes"}}})
    ready = services.until("Ready", "False", "CrashLoop")
    assert "no such file" in ready["message"]
    assert services.condition("Available")["status"] == "True"
    assert services.get("service")["spec"]["selector"]["modelservice.dev/revision"] == stable
    services.apply(replicas=2)
    services.until("Ready", "True")


def test_a_changed_spec_goes_over_pod_by_pod(services: Services) -> None:
    services.apply(replicas=3)
    services.until("Ready", "True")
    services.apply(replicas=3, runtime={"args": ["--drain-delay=1s"]})
    services.until("Ready", "True")
    status = services.get("modelservice")["status"]
    assert [(each["role"], each["ready"], each["weight"]) for each in status["revisions"]] == [("Stable", 3, "100%")]
    ledger = {each["metadata"]["name"]: each for each in services.all("controllerrevisions")}
    assert len(ledger) == 2
    promoted = ledger[status["revisions"][0]["name"]]["metadata"]["annotations"]
    assert promoted["modelservice.dev/promotion"] == "2"
    until(lambda: len(services.all("deployments")) == 1, "the previous Deployment is gone")


def test_absent_replicas_hold_the_number_that_runs_and_scale_works(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    assert services.get("modelservice")["spec"]["replicas"] == 1
    services.kubectl("scale", "modelservice", "m", "--replicas=3")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 3, "three pods are ready")
    services.kubectl("patch", "modelservice", "m", "--type=json", "-p", '[{"op": "remove", "path": "/spec/replicas"}]')
    until(lambda: services.get("modelservice")["spec"].get("replicas") == 3, "the number that runs is written back")
    services.until("Ready", "True")


def test_a_fifth_pod_without_a_device_waits_in_the_scheduler_s_words(services: Services) -> None:
    services.apply(replicas=5, accelerator={"resource": "nvidia.com/gpu"})
    scheduled = services.until("Scheduled", "False", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in scheduled["message"]
    services.until("Available", "True")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 4, "four pods serve")
    assert services.condition("Ready")["reason"] == "WaitingForCapacity"
    services.kubectl("scale", "modelservice", "m", "--replicas=4")
    services.until("Ready", "True")
    services.kubectl("delete", "modelservice", "m")
    until(lambda: not services.all("pods"), "the devices are free again")


def test_paused_holds_a_new_revision(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    before = services.template_versions()
    services.apply(rollout={"paused": True}, runtime={"args": ["--x"]})
    services.until("Ready", "False", "Paused")
    assert {name: v for name, v in services.template_versions().items() if name in before} == before
    services.apply(rollout={"paused": False}, runtime={"args": ["--x"]})
    services.until("Ready", "True")


def test_a_first_revision_that_never_serves_gives_way_to_a_mended_one(services: Services, kubelet: Kubelet) -> None:
    kubelet.state_of = lambda labels: serving() if "good" in labels else crashing("no such file")
    services.apply(replicas=2)
    services.until("Ready", "False", "CrashLoop")
    services.apply(replicas=2, podTemplate={"metadata": {"labels": {"good": "yes"}}})
    services.until("Ready", "True")
    assert len(services.all("deployments")) == 1


def test_a_crash_that_is_told_once_writes_nothing_at_the_next_tries(
    services: Services, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    kubelet.state_of = lambda _: crashing("2026-01-01T00:00:01Z fatal: out of paper (pid 7)")
    services.apply()
    told = services.until("Ready", "False", "CrashLoop")
    until(operator.is_idle, "the operator has looked at everything")
    sent = operator.writes()
    for later in (
        "2026-01-01T00:00:11Z fatal: out of paper (pid 8)",
        "2026-01-01T00:00:31Z fatal: out of paper (pid 9)",
    ):
        kubelet.state_of = lambda _, later=later: crashing(later)  # type: ignore[misc]
        until(lambda later=later: later in json.dumps(services.all("pods")), "the pod has crashed again")  # type: ignore[misc]
        services.kubectl("annotate", "--overwrite", "modelservice", "m", f"look={later[17:19]}")
    until(operator.is_idle, "the operator has looked at everything")
    assert services.condition("Ready")["message"] == told["message"]
    assert operator.writes() == sent


def test_zero_to_three_and_back_pins_the_model_with_the_first_pod(services: Services) -> None:
    services.apply(replicas=0)
    services.until("Ready", "True", "ScaledToZero")
    services.kubectl("scale", "modelservice", "m", "--replicas=3")
    services.until("Ready", "True", "Ready")
    assert services.get("configmap", services.revisions()[0]["name"])["data"]["digest"] == DIGEST
    services.kubectl("scale", "modelservice", "m", "--replicas=0")
    services.until("Ready", "True", "ScaledToZero")
    services.until("Available", "False", "ScaledToZero")


def test_a_number_that_vanishes_in_the_middle_of_a_roll_is_held(services: Services, kubelet: Kubelet) -> None:
    services.apply(replicas=3)
    services.until("Ready", "True")
    kubelet.state_of = lambda labels: None if "new" in labels else serving()
    services.apply(replicas=3, podTemplate={"metadata": {"labels": {"new": "yes"}}})
    until(lambda: len(services.revisions()) == 2, "the new revision has a pod")
    kubelet.state_of = lambda _: serving()
    until(lambda: services.revisions()[1]["weight"] not in {"0%", "100%"}, "both share the traffic")
    services.kubectl("patch", "modelservice", "m", "--type=json", "-p", '[{"op": "remove", "path": "/spec/replicas"}]')
    until(lambda: services.get("modelservice")["spec"].get("replicas") == 3, "the promised number is written back")
    services.until("Ready", "True")
    assert services.get("modelservice")["spec"]["replicas"] == 3


def test_pods_that_nobody_waits_for_any_more_hold_up_no_roll(services: Services) -> None:
    """One was evicted, another taken out of its ReplicaSet by somebody who wants to look at it."""
    services.apply(replicas=2)
    services.until("Ready", "True")
    evicted, kept = (each["metadata"]["name"] for each in services.all("pods"))
    services.kubectl("patch", "pod", evicted, "--subresource=status", "-p", '{"status": {"phase": "Failed"}}')
    services.kubectl("label", "pod", kept, "modelservice.dev/revision-")
    services.until("Ready", "True")
    services.apply(replicas=2, runtime={"args": ["--x"]})
    services.until("Ready", "True")
    assert {evicted, kept} <= {each["metadata"]["name"] for each in services.all("pods")} | {evicted}
    assert [each["role"] for each in services.revisions()] == ["Stable"]
    services.kubectl("delete", "pod", kept, "--wait=false")


def test_a_quota_s_words_name_no_pod_and_waiting_ends_with_room(services: Services) -> None:
    services.kubectl("create", "quota", "few", "--hard=pods=1")
    services.apply(replicas=2)
    ready = services.until("Ready", "False", "WaitingForCapacity")
    assert ready["message"].endswith(
        ": Its pods are refused: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"
    )
    services.until("Available", "True")
    services.kubectl("delete", "quota", "few")
    services.kubectl("scale", "modelservice", "m", "--replicas=1")
    services.until("Ready", "True")


def test_a_policy_that_refuses_pods_is_not_called_waiting(services: Services) -> None:
    services.kubectl("label", "namespace", services.namespace, "pod-security.kubernetes.io/enforce=baseline")
    services.apply(podTemplate={"spec": {"hostNetwork": True}})
    ready = services.until("Ready", "False", "Rejected")
    assert "refused: violates PodSecurity" in ready["message"]
    services.apply()
    services.until("Ready", "True")


def test_a_newcomer_that_the_api_server_refuses_does_not_hold_up_scaling(services: Services) -> None:
    services.apply(replicas=1)
    services.until("Ready", "True")
    services.apply(replicas=1, podTemplate={"spec": {"containers": [{"name": "server", "tty": "perhaps"}]}})
    services.until("Stalled", "True", "Rejected")
    services.kubectl("scale", "modelservice", "m", "--replicas=2")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "two pods are ready")


def test_a_name_that_ends_in_metrics_conflicts_with_the_metrics_of_another_but_stops_no_traffic(
    services: Services,
) -> None:
    services.apply("m-metrics")
    services.until("Ready", "True", name="m-metrics")
    services.apply("m")
    stalled = services.until("Stalled", "True", "NameConflict")
    assert stalled["message"] == "Service 'm-metrics' already exists and belongs to ModelService 'm-metrics'."
    services.until("Available", "True")
    services.kubectl("delete", "modelservice", "m-metrics")
    until(lambda: len(services.all("services")) == 1, "the other's Services are gone")
    services.kubectl("annotate", "modelservice", "m", "try=again")
    services.until("Ready", "True")


def test_what_is_deleted_by_hand_comes_back_and_rolls_nothing(services: Services) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True")
    name = services.revisions()[0]["name"]
    before = {each["metadata"]["name"] for each in services.all("pods")}
    for kind, lost in (("service", "m"), ("service", "m-metrics"), ("configmap", name), ("controllerrevision", name)):
        uid = services.get(kind, lost)["metadata"]["uid"]
        services.kubectl("delete", kind, lost)
        until(
            lambda kind=kind, lost=lost, uid=uid: any(  # type: ignore[misc]
                each["metadata"]["name"] == lost and each["metadata"]["uid"] != uid for each in services.all(kind)
            ),
            f"the {kind} {lost} is back",
        )
    services.until("Ready", "True")
    assert {each["metadata"]["name"] for each in services.all("pods")} == before
    services.kubectl("delete", "deployment", name)
    until(lambda: before.isdisjoint(each["metadata"]["name"] for each in services.all("pods")), "its pods are gone")
    services.until("Ready", "True")
    assert [each["name"] for each in services.revisions()] == [name]


def test_a_child_that_is_deleted_by_hand_is_back_within_a_second(services: Services, plane: ControlPlane) -> None:
    services.apply()
    services.until("Ready", "True")
    name = services.revisions()[0]["name"]

    def seconds_away(kind: str, child: str) -> float:
        """Delete a child, and see in a watch when it goes and when it is back."""
        kubectl = ["timeout", "60", str(binaries.path("kubectl")), f"--kubeconfig={plane.kubeconfig}"]
        watch = ["get", kind, child, f"--namespace={services.namespace}", "--watch", "--output-watch-events"]
        with subprocess.Popen([*kubectl, *watch, "--no-headers"], stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            events = (line.split()[0] for line in watching.stdout)
            assert next(events) == "ADDED"
            services.kubectl("delete", kind, child, "--wait=false")
            while next(events) != "DELETED":
                pass
            gone = time.monotonic()
            assert next(events) == "ADDED"
            back = time.monotonic()
            watching.terminate()
        return back - gone

    kinds = {"service": "m", "configmap": name, "controllerrevision": name, "deployment": name}
    away = {kind: seconds_away(kind, child) for kind, child in kinds.items()}
    assert statistics.median(away.values()) < 1, away
    services.until("Ready", "True")


def test_a_new_revision_that_waits_for_a_device_leaves_available_as_it_is(services: Services) -> None:
    device = {"resource": "nvidia.com/gpu"}
    services.apply(replicas=4, accelerator=device)
    services.until("Ready", "True")
    before = services.condition("Available")
    services.apply(replicas=4, accelerator=device, runtime={"args": ["--drain-delay=1s"]})
    waiting = services.until("Ready", "False", "WaitingForCapacity")
    assert "Insufficient nvidia.com/gpu" in waiting["message"]
    assert [(each["role"], each["ready"]) for each in services.revisions()] == [("Stable", 4), ("Candidate", 0)]
    services.apply(replicas=3, accelerator=device, runtime={"args": ["--drain-delay=1s"]})  # makes room
    services.until("Ready", "True")
    after = services.condition("Available")
    same = ("status", "reason", "lastTransitionTime")  # it has not been False in between
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    services.kubectl("delete", "modelservice", "m")
    until(lambda: not services.all("pods"), "the devices are free again")


def test_a_pin_cannot_be_edited(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    name = services.revisions()[0]["name"]
    with pytest.raises(AssertionError, match="field is immutable"):
        services.kubectl("patch", "configmap", name, "-p", '{"data": {"digest": "sha256:2"}}')


def test_a_pin_whose_line_of_the_ledger_is_not_seen_stays(services: Services, operator: OperatorProcess) -> None:
    """A watch that lags does not show the line; without the label no watch does."""

    def becomes(model: str) -> None:
        services.apply(model={"uri": model})
        until(lambda: services.revisions()[0]["model"].startswith(f"{model}@"), "it is promoted, and pinned")
        until(operator.is_idle, "nothing is left to do")

    services.apply()
    services.until("Ready", "True", "Ready")
    (old,) = services.revisions()
    becomes("file:///models/m2")
    services.kubectl("label", "controllerrevision", old["name"], "modelservice.dev/name-")
    becomes("file:///models/m3")
    assert services.get("configmap", old["name"])["data"]["digest"] in old["model"]
    services.kubectl("delete", "controllerrevision", old["name"])
    becomes("file:///models/m4")
    assert old["name"] not in {each["metadata"]["name"] for each in services.all("configmaps")}


def test_the_service_changes_its_type_at_once_and_its_port_and_scheme_with_the_revision(
    services: Services, kubelet: Kubelet
) -> None:
    services.apply()
    services.until("Ready", "True")
    for kind in ("NodePort", "LoadBalancer", "ClusterIP"):
        services.apply(service={"type": kind})
        until(lambda kind=kind: services.get("service")["spec"]["type"] == kind, f"it is a {kind}")  # type: ignore[misc]
        services.until("Ready", "True")
    assert "nodePort" not in services.get("service")["spec"]["ports"][0]
    kubelet.state_of = lambda labels: None if "new" in labels else serving()
    services.apply(runtime={"port": 8000}, podTemplate={"metadata": {"labels": {"new": "yes"}}})
    services.until("Ready", "False")
    assert services.get("service")["spec"]["ports"][0]["port"] == 8080
    kubelet.state_of = lambda _: serving()
    services.until("Ready", "True")
    assert services.get("service")["spec"]["ports"][0]["port"] == 8000
    assert services.get("modelservice")["status"]["url"].endswith(":8000")
    for security, scheme in (({"tls": {"secretRef": {"name": "m-tls"}}}, "https"), ({}, "http")):
        services.apply(security=security)
        services.until("Ready", "True")
        (port,) = services.get("service")["spec"]["ports"]
        assert (port.get("appProtocol", "http"), port["port"]) == (scheme, 8080)
        assert services.get("modelservice")["status"]["url"] == f"{scheme}://m.{services.namespace}.svc:8080"


def test_events_tell_what_became_of_a_service_and_nothing_else(services: Services, kubelet: Kubelet) -> None:
    def told() -> list[tuple[str, str, str]]:
        found = services.all("events.events.k8s.io")
        ours = [each for each in found if each["regarding"]["kind"] == "ModelService"]
        return [
            (each["type"], each["reason"], each["note"]) for each in sorted(ours, key=lambda each: each["eventTime"])
        ]

    services.apply()
    services.until("Ready", "True")
    first = services.revisions()[0]["name"]
    ready = ("Normal", "Ready", f"Revision {first} serves.")
    until(lambda: told() == [ready], "a service that comes up has one event", details=told)
    kubelet.state_of = lambda labels: crashing("no such file") if "bad" in labels else serving()
    services.apply(podTemplate={"metadata": {"labels": {"bad": "yes"}}})
    services.until("Ready", "False", "CrashLoop")
    services.apply(runtime={"args": ["--good"]})
    services.until("Ready", "True")
    second = services.revisions()[0]["name"]
    until(
        lambda: told()[-1:] == [("Normal", "Ready", f"Revision {second} serves.")],
        "the last word is told",
        details=told,
    )
    recorded, crash, again, promoted, _ = told()[1:]
    assert (recorded[1], again[1]) == ("RevisionRecorded", "RevisionRecorded")
    assert crash[:2] == ("Warning", "CrashLoop")
    assert "no such file" in crash[2]
    assert promoted == ("Normal", "RevisionPromoted", f"Revision {second} has taken over from {first}.")
    assert "RevisionPromoted" in services.kubectl("describe", "modelservice", "m")
