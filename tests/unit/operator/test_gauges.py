"""What alerts are made of: the series of a service, from its first report to its end."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from modelservice_operator import budgets
from modelservice_operator.engine import metrics as engine_metrics
from modelservice_operator.engine.store import Key
from modelservice_operator.gauges import Gauges, scaling_text
from modelservice_operator.kube import session

OURS = (engine_metrics, session, budgets)  # importing them registers what they export
DOCUMENTATION = Path(__file__).parents[3] / "docs/metrics.md"
DIGITS, OTHER = Key("ml", "digits"), Key("ml", "other")


def report(ready: int = 2, reason: str = "Ready", *, role: str = "Stable", **conditions: str) -> dict[str, object]:
    found = [{"type": kind, "status": holds, "reason": reason} for kind, holds in conditions.items()]
    return {"readyReplicas": ready, "conditions": found, "revisions": [{"role": role}]}


def series(gauges: Gauges) -> dict[str, float]:
    """Return the series as Prometheus reads them, without the labels that all of them have."""
    found = {}
    for family in text_string_to_metric_families(gauges.text()):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            own = {name: value for name, value in sample.labels.items() if name not in {"namespace", "name"}}
            assert sample.labels["namespace"] == "ml"
            found[" ".join((sample.labels["name"], sample.name, *own.values()))] = sample.value
    return found


def test_a_service_that_serves() -> None:
    gauges = Gauges()
    gauges.show(DIGITS, report(Ready="True", Available="True"), wanted=3, phase="Settled")
    assert series(gauges) == {
        "digits modelservice_replicas_wanted": 3,
        "digits modelservice_replicas_ready": 2,
        "digits modelservice_promoted": 1,
        "digits modelservice_condition Ready": 1,
        "digits modelservice_condition Available": 1,
        "digits modelservice_condition Reconciling": 0,
        "digits modelservice_condition Stalled": 0,
        "digits modelservice_ready_reason Ready": 1,
        "digits modelservice_rollout_phase Settled": 1,
    }


def test_what_the_autoscaler_decided_and_what_it_saw_if_it_saw_anything() -> None:
    lines = scaling_text([(DIGITS, 3, 17.0, "Load"), (OTHER, 1, None, "NoData")]).splitlines()
    assert [each for each in lines if not each.startswith("#")] == [
        'modelservice_autoscaler_replicas{namespace="ml",name="digits"} 3',
        'modelservice_autoscaler_replicas{namespace="ml",name="other"} 1',
        'modelservice_autoscaler_inflight{namespace="ml",name="digits"} 17',
        'modelservice_autoscaler_rule{namespace="ml",name="digits",rule="Load"} 1',
        'modelservice_autoscaler_rule{namespace="ml",name="other",rule="NoData"} 1',
    ]


def test_a_service_of_which_no_revision_was_let_in_yet() -> None:
    gauges = Gauges()
    gauges.show(DIGITS, report(0, "Paused", role="Candidate", Ready="False"), wanted=1, phase="Paused")
    assert series(gauges)["digits modelservice_promoted"] == 0


def test_a_service_that_costs_something() -> None:
    gauges = Gauges()
    gauges.show(DIGITS, report(Ready="True"), wanted=1, phase="Settled", price=0.75)
    gauges.show(OTHER, report(Ready="True"), wanted=1, phase="Settled", price=0.0)
    found = series(gauges)
    assert found["digits modelservice_price_per_hour"] == 0.75
    assert found["other modelservice_price_per_hour"] == 0


def test_a_service_for_which_nothing_can_be_planned() -> None:
    gauges = Gauges()
    stalled = report(0, "InvalidSpec", Ready="False", Available="False", Stalled="True")
    gauges.show(DIGITS, stalled, wanted=1, phase="")
    found = series(gauges)
    assert found["digits modelservice_condition Stalled"] == 1
    assert found["digits modelservice_ready_reason InvalidSpec"] == 1
    assert not any("rollout_phase" in name for name in found)


def test_what_is_unknown_is_neither_good_nor_bad() -> None:
    gauges = Gauges()
    gauges.show(DIGITS, report(Ready="True", Scheduled="Unknown"), wanted=1, phase="Settled")
    assert not any("Scheduled" in name for name in series(gauges))


def test_the_latest_report_counts_and_a_service_that_is_gone_has_no_series() -> None:
    gauges = Gauges()
    for key in (DIGITS, OTHER):
        gauges.show(key, report(0, "ModelLoading", Ready="False"), wanted=1, phase="Starting")
    gauges.show(OTHER, report(1, Ready="True"), wanted=1, phase="Settled")
    gauges.forget(DIGITS)
    gauges.forget(DIGITS)
    found = series(gauges)
    assert {name.split()[0] for name in found} == {"other"}
    assert [name.split()[-1] for name in found if "phase" in name or "reason" in name] == ["Ready", "Settled"]


def test_the_documentation_has_every_metric_and_no_other() -> None:
    own = [family for family in REGISTRY.collect() if family.name.startswith("modelservice_")]
    families = [*own, *text_string_to_metric_families(Gauges().text() + scaling_text(()))]
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert set(re.findall(r"^\| `(\w+)` \|", DOCUMENTATION.read_text(), re.MULTILINE)) == exported
