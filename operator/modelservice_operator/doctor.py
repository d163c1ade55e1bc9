"""Says what ails an installation, and what to do about it. It looks, and changes nothing.

A check reads, and one pure function makes findings of what was read.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import aiohttp

from modelservice_operator import names, rbac
from modelservice_operator.api.reasons import ConditionType, Reason
from modelservice_operator.kube.errors import KubeError, NotFound
from modelservice_operator.kube.resources import (
    LEASES,
    MODEL_SERVICES,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence

    from modelservice_operator.kube.resources import Body, Resource
    from modelservice_operator.kube.session import Cluster

_LOOK_AT_LEASE_SECONDS = 1.0
_LEASE_SECONDS = 15.0  # where the Lease does not say
_ANSWER_SECONDS = 5.0


class Verdict(StrEnum):
    """What a finding comes to."""

    FINE = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class Installation:
    """What the operators of one installation were started with."""

    name: str
    lease_namespace: str
    namespaces: tuple[str, ...] = ()
    """Those that it looks after; empty: all."""
    logs: bool = True
    """Whether it reads those of containers that failed."""
    optional: tuple[Resource, ...] = ()
    """Kinds that a cluster may lack."""


async def examine(cluster: Cluster, of: Installation, *, user: str = "", url: str = "") -> list[Finding]:
    """Look at everything.

    `user` is whose rights are asked for, as `kubectl --as` names them (empty: those that we have ourselves); `url` is
    where one operator serves its pages (empty: nobody knows).
    """
    try:
        offers = await _offers(cluster, of)
    except KubeError as error:
        return [Finding("cluster", Verdict.WRONG, error.message)]  # nothing else can be asked
    checks = await asyncio.gather(
        _found("rights", check_rights(cluster, of, user)),
        _found("lease", _lease(cluster, of)),
        _found("watches", _watches(url)),
        _found("models", _models(cluster, of)),
    )
    return [*offers, *(finding for found in checks for finding in found)]


def as_text(findings: Sequence[Finding]) -> Iterator[str]:
    """Return the lines for people: each subject once, what is wrong where it stands out."""
    for about in dict.fromkeys(each.about for each in findings):
        yield about
        yield from (f"  {each.verdict:<6} {each.message}" for each in findings if each.about == about)


async def _found(about: str, check: Coroutine[object, object, list[Finding]]) -> list[Finding]:
    try:
        return await check
    except KubeError as error:
        return [Finding(about, Verdict.WRONG, error.message)]


# -- what the cluster offers


async def _offers(cluster: Cluster, of: Installation) -> list[Finding]:
    served = await cluster.verbs(MODEL_SERVICES)
    optional = [(resource, await cluster.verbs(resource)) for resource in of.optional]
    return [_definition(is_served=bool(served)), *(_optional(kind, is_served=bool(verbs)) for kind, verbs in optional)]


def _definition(*, is_served: bool) -> Finding:
    kind = f"ModelService ({MODEL_SERVICES.api_version})"
    if is_served:
        return Finding("cluster", Verdict.FINE, f"{kind} is served.")
    advice = "install the CustomResourceDefinition: crds.enabled in the chart, or `modelservice-operator crds`"
    return Finding("cluster", Verdict.WRONG, f"{kind} is not served; {advice}.")


def _optional(resource: Resource, *, is_served: bool) -> Finding:
    if is_served:
        return Finding("cluster", Verdict.FINE, f"{resource} is served, and used.")
    return Finding(
        "cluster", Verdict.NOTE, f"{resource} is not served, so no model has a {resource.kind}; none needs it."
    )


# -- rights


async def check_rights(cluster: Cluster, of: Installation, user: str = "") -> list[Finding]:
    """Ask for every right that the operator needs."""
    asked = list(questions(of))
    answers = await asyncio.gather(*(_may(cluster, right, namespace, user) for right, namespace in asked))
    refused = [question for question, may in zip(asked, answers, strict=True) if not may]
    return rights(refused, len(asked), user)


def questions(of: Installation) -> Iterator[tuple[rbac.Right, str]]:
    """Return every right with the namespace in which it is needed; empty: in all, or in none.

    Who looks after some namespaces needs nothing that is in none.
    """
    where = {
        rbac.Where.MODELS: of.namespaces or ("",),
        rbac.Where.CLUSTER: ("",),
        rbac.Where.OWN: (of.lease_namespace,),
    }
    for rule in rbac.rules(of.name, in_cluster=not of.namespaces, logs=of.logs):
        for right in rule.rights():
            yield from ((right, namespace) for namespace in where[rule.where])


async def _may(cluster: Cluster, right: rbac.Right, namespace: str, user: str) -> bool:
    kind = SUBJECT_ACCESS_REVIEWS if user else SELF_SUBJECT_ACCESS_REVIEWS
    answer = await cluster.create(kind, review(right, namespace, user))
    return bool(answer["status"]["allowed"])


def review(right: rbac.Right, namespace: str, user: str = "") -> Body:
    """Return the question to the API server whether `user`, else we ourselves, have a right."""
    kind = SUBJECT_ACCESS_REVIEWS if user else SELF_SUBJECT_ACCESS_REVIEWS
    attributes = {
        "verb": right.verb,
        "group": right.resource.group,
        "resource": right.resource.plural,
        "subresource": right.rule.subresource,
        "name": right.rule.name,
        "namespace": namespace,
    }
    who = {"user": user, "groups": _groups(user)} if user else {}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {},
        "spec": {"resourceAttributes": attributes, **who},
    }


def _groups(user: str) -> list[str]:
    """Return the groups that the API server puts a user into; of a service account they follow from its name."""
    if not user.startswith("system:serviceaccount:"):
        return ["system:authenticated"]
    namespace = user.split(":")[2]
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]


def rights(refused: Sequence[tuple[rbac.Right, str]], asked: int, user: str = "") -> list[Finding]:
    """Make a finding for each rule of the chart that is not granted as it should be."""
    whose = user or "This account"
    if not refused:
        return [Finding("rights", Verdict.FINE, f"{whose} has all {asked} rights that the operator needs.")]
    lacking: dict[tuple[str, str, str], list[str]] = {}
    for right, namespace in refused:
        place = f" in namespace {namespace}" if namespace else ""
        lacking.setdefault((right.object, place, right.rule.why), []).append(right.verb)
    return [
        Finding(
            "rights",
            Verdict.WRONG,
            f'{whose} may not {", ".join(verbs)} {what}{place}. The rule of the chart (rbac.yaml) is missing: "{why}"',
        )
        for (what, place, why), verbs in lacking.items()
    ]


# -- the lease


async def _lease(cluster: Cluster, of: Installation) -> list[Finding]:
    """Look until the Lease changes, or has not for as long as it is good for: no clocks are compared."""
    name = names.lease(of.name)
    try:
        first = (await cluster.get(LEASES, of.lease_namespace, name)).get("spec") or {}
        last, waited = first, 0.0
        good_for = float(first.get("leaseDurationSeconds") or _LEASE_SECONDS)
        while last == first and first.get("holderIdentity") and waited < good_for:
            await asyncio.sleep(_LOOK_AT_LEASE_SECONDS)
            waited += _LOOK_AT_LEASE_SECONDS
            last = (await cluster.get(LEASES, of.lease_namespace, name)).get("spec") or {}
    except NotFound:
        return [lease(f"{of.lease_namespace}/{name}", None, is_renewed=False)]
    return [lease(f"{of.lease_namespace}/{name}", last, is_renewed=last != first)]


def lease(name: str, spec: Mapping[str, Any] | None, *, is_renewed: bool) -> Finding:
    """Say who works."""
    if spec is None:
        message = f"There is no {name}: no operator has ever led here. Is it in another namespace (--lease-namespace)?"
        return Finding("lease", Verdict.WRONG, message)
    holder = spec.get("holderIdentity")
    if not holder:
        return Finding(
            "lease", Verdict.WRONG, f"Nobody holds {name}: no operator works. Does one run, and what is its log?"
        )
    if not is_renewed:
        message = f"{name} is not renewed any more by {holder}: no operator works. Does one run, and what is its log?"
        return Finding("lease", Verdict.WRONG, message)
    return Finding("lease", Verdict.FINE, f"{name} is held by {holder}, who renews it.")


# -- watches


async def _watches(url: str) -> list[Finding]:
    if not url:
        advice = (
            "run doctor in a pod of the operator, or forward its port 8080 and give --operator http://localhost:8080"
        )
        return [Finding("watches", Verdict.NOTE, f"Not asked for; {advice}.")]
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)) as http,
            http.get(f"{url}/readyz") as answer,
        ):
            return watches(url, is_ready=answer.ok, page=await answer.text())
    except (aiohttp.ClientError, TimeoutError) as error:
        message = f"{url} does not answer: {type(error).__name__}{f': {error}' if str(error) else ''}."
        return [Finding("watches", Verdict.WRONG, message)]


def watches(url: str, *, is_ready: bool, page: str) -> list[Finding]:
    """Make findings of what an operator says on /readyz."""
    if is_ready:
        return [Finding("watches", Verdict.FINE, f"The operator at {url} has listed everything and hears of changes.")]
    return [Finding("watches", Verdict.WRONG, f"The operator at {url}: {line}.") for line in page.splitlines()]


# -- models


async def _models(cluster: Cluster, of: Installation) -> list[Finding]:
    found: list[Body] = []
    for namespace in of.namespaces or (None,):
        found += (await cluster.list(MODEL_SERVICES, namespace=namespace)).items
    return models(found)


def models(services: Iterable[Body]) -> list[Finding]:
    """Say what each service that is not ready waits for, and what to do for one that is stalled."""
    services = list(services)
    findings = [finding for each in services if (finding := _model(each)) is not None]
    fine = len(services) - len(findings)
    return [Finding("models", Verdict.FINE, f"{fine} of {len(services)} ModelServices are ready."), *findings]


def _model(service: Body) -> Finding | None:
    metadata, status = service["metadata"], service.get("status") or {}
    name = f"{metadata['namespace']}/{metadata['name']}"
    if status.get("observedGeneration") != metadata["generation"]:
        return Finding("models", Verdict.NOTE, f"{name}: no operator has looked at the latest spec yet.")
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    if (stalled := conditions.get(ConditionType.STALLED)) and stalled["status"] == "True":
        return Finding("models", Verdict.WRONG, f"{name}: {_told(stalled)} {_remedy(stalled['reason'])}".rstrip())
    ready = conditions.get(ConditionType.READY)
    if ready is None or ready["status"] == "True":
        return None
    return Finding("models", Verdict.NOTE, f"{name} is not ready: {_told(ready)}")


def _told(condition: Mapping[str, Any]) -> str:
    return f"{condition['reason']}: {condition['message']}"


def _remedy(reason: str) -> str:
    return next((f"What to do: {each.remedy}" for each in Reason if each == reason), "")
