"""What doctor says, from what it read; tests/controlplane has it read."""

from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator import rbac
from modelservice_operator.api.reasons import Reason
from modelservice_operator.doctor import (
    Finding,
    Installation,
    Verdict,
    as_text,
    lease,
    models,
    questions,
    review,
    rights,
    watches,
)
from unit.operator.makers import service

RIGHTS = {str(right): right for rule in rbac.rules("default") for right in rule.rights()}


def condition(kind: str, status: str, reason: str, message: str = "It is so.") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def told(name: str, *conditions: dict[str, str], seen: int = 3) -> dict[str, Any]:
    return service(name, status={"observedGeneration": seen, "conditions": list(conditions)})


def test_rights_are_named_by_what_they_are_for_with_all_the_verbs_of_a_rule() -> None:
    refused = [
        (RIGHTS[each], "") for each in ("list pods", "watch pods", "patch modelservices.modelservice.dev/status")
    ]
    pods, status = rights(refused, asked=40)
    assert pods == Finding(
        "rights",
        Verdict.WRONG,
        "This account may not list, watch pods. The rule of the chart (rbac.yaml) is missing: "
        '"Why a pod does not come up, in the words of the scheduler and the kubelet."',
    )
    assert "may not patch modelservices.modelservice.dev/status." in status.message


def test_a_right_that_is_missing_in_one_namespace_is_missing_there() -> None:
    [found] = rights([(RIGHTS["list pods"], "ml")], asked=40, user="system:serviceaccount:ops:operator")
    assert found.message.startswith("system:serviceaccount:ops:operator may not list pods in namespace ml.")


def test_who_looks_after_some_namespaces_needs_rights_in_these() -> None:
    everywhere = {(str(right), place) for right, place in questions(Installation("default", "ops"))}
    some = {(str(right), place) for right, place in questions(Installation("default", "ops", ("a", "b")))}
    assert ("list pods", "") in everywhere
    assert {("list pods", "a"), ("list pods", "b"), ("create leases.coordination.k8s.io", "ops")} <= some
    assert not any(place == "" or "customresourcedefinitions" in right for right, place in some)


def test_with_all_rights_there_is_one_good_finding() -> None:
    assert rights([], asked=40) == [
        Finding("rights", Verdict.FINE, "This account has all 40 rights that the operator needs.")
    ]


def test_a_right_is_asked_for_as_ourselves_or_as_somebody_with_their_groups() -> None:
    own = review(RIGHTS["patch modelservices.modelservice.dev/scale"], "ml")
    assert own["kind"] == "SelfSubjectAccessReview"
    assert own["spec"] == {
        "resourceAttributes": {
            "verb": "patch",
            "group": "modelservice.dev",
            "resource": "modelservices",
            "subresource": "scale",
            "name": "",
            "namespace": "ml",
        }
    }
    theirs = review(RIGHTS["list pods"], "", "system:serviceaccount:ops:operator")
    assert theirs["kind"] == "SubjectAccessReview"
    assert theirs["spec"]["groups"] == ["system:serviceaccounts", "system:serviceaccounts:ops", "system:authenticated"]
    assert review(RIGHTS["list pods"], "", "jane")["spec"]["groups"] == ["system:authenticated"]


@pytest.mark.parametrize(
    ("spec", "is_renewed", "verdict", "words"),
    [
        (None, False, Verdict.WRONG, "no operator has ever led here"),
        ({"holderIdentity": ""}, True, Verdict.WRONG, "Nobody holds ops/lease"),
        ({"holderIdentity": "a"}, False, Verdict.WRONG, "is not renewed any more by a"),
        ({"holderIdentity": "a"}, True, Verdict.FINE, "is held by a"),
    ],
)
def test_a_lease_is_good_that_somebody_renews(
    spec: dict[str, Any] | None, is_renewed: bool, verdict: Verdict, words: str
) -> None:
    found = lease("ops/lease", spec, is_renewed=is_renewed)
    assert found.verdict is verdict
    assert words in found.message


def test_an_operator_s_own_words_about_its_watches_are_passed_on() -> None:
    [fine] = watches("http://x", is_ready=True, page="ok\n")
    assert fine.verdict is Verdict.FINE
    found = watches("http://x", is_ready=False, page="pods is forbidden: no\nservices lost the API server\n")
    assert [each.message for each in found] == [
        "The operator at http://x: pods is forbidden: no.",
        "The operator at http://x: services lost the API server.",
    ]


def test_a_stalled_service_is_told_with_what_to_do_and_others_with_what_they_wait_for() -> None:
    summary, *found = models(
        [
            told("a", condition("Ready", "True", "Ready")),
            told("b", condition("Ready", "False", "BadOverlay"), condition("Stalled", "True", "BadOverlay", "No.")),
            told("c", condition("Ready", "False", "ModelLoading")),
            told("d", condition("Ready", "True", "Ready"), seen=2),
            told("e", condition("Stalled", "True", "OfAnotherVersion", "Hm.")),
        ]
    )
    assert summary.message == "1 of 5 ModelServices are ready."
    assert found == [
        Finding("models", Verdict.WRONG, f"ml/b: BadOverlay: No. What to do: {Reason.BAD_OVERLAY.remedy}"),
        Finding("models", Verdict.NOTE, "ml/c is not ready: ModelLoading: It is so."),
        Finding("models", Verdict.NOTE, "ml/d: no operator has looked at the latest spec yet."),
        Finding("models", Verdict.WRONG, "ml/e: OfAnotherVersion: Hm."),
    ]


def test_the_text_has_each_subject_once() -> None:
    findings = [
        Finding("a", Verdict.FINE, "One."),
        Finding("b", Verdict.NOTE, "Two."),
        Finding("a", Verdict.WRONG, "3."),
    ]
    assert list(as_text(findings)) == ["a", "  ok     One.", "  WRONG  3.", "b", "  note   Two."]
