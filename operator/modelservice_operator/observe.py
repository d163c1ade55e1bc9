"""Reads one ModelService and its children, as the store has them, into what decisions are made from. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modelservice_operator import limits, names
from modelservice_operator.api import InvalidSpec, ModelServiceSpec, parse
from modelservice_operator.api.reasons import Reason
from modelservice_operator.limits import NotAllowedError
from modelservice_operator.render.overlay import BadOverlayError
from modelservice_operator.render.pod import UnknownClassError, pod_template
from modelservice_operator.rollout import ledger, pods, revision
from modelservice_operator.rollout.situation import LONG_AGO, Entry, Evaluated, Orders, Situation, Workload

if TYPE_CHECKING:
    from datetime import datetime

    from modelservice_operator.config import Config
    from modelservice_operator.monitoring.budgets import Quality

Body = dict[str, Any]
ByName = Mapping[str, Body]


@dataclass(frozen=True, slots=True)
class Children:
    """The live children of one ModelService, by name: only what is controlled by it; and the pods with its label."""

    revisions: ByName
    pins: ByName
    deployments: ByName
    services: ByName
    budgets: ByName
    policies: ByName
    service_monitors: ByName
    prometheus_rules: ByName
    alertmanager_configs: ByName
    autoscalers: ByName
    scaled_objects: ByName
    jobs: ByName
    pods: ByName


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps the latest spec from coming into force until somebody acts."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Wish:
    """A ModelService, read: everything that follows from it alone, whatever becomes of its children."""

    service: Body
    spec: ModelServiceSpec | None = None  # None: it breaks a rule, see `problem`
    shape: Body = field(default_factory=dict)  # its pod-shaping part
    revision: str = ""  # the name of the revision that it describes
    problem: Problem | None = None
    unknown: tuple[tuple[str | int, ...], ...] = ()  # fields that this version does not know, if that is the problem


@dataclass(frozen=True, slots=True)
class Seen:
    """A ModelService, the revision that its spec describes, and the situation around it."""

    service: Body
    children: Children
    situation: Situation
    spec: ModelServiceSpec | None = None  # None: it breaks a rule, see `problem`
    desired: Entry | None = None  # the line that the ledger has or will get for the spec; None: see `problem`
    problem: Problem | None = None
    writer_of_replicas: str = ""  # who has spec.replicas in a manifest beside spec.autoscaling

    @property
    def namespace(self) -> str:
        """Namespace of the ModelService."""
        return str(self.service["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Name of the ModelService."""
        return str(self.service["metadata"]["name"])


def read(service: Body) -> Wish:
    """Return what a ModelService says. A spec that breaks a rule is a problem, not an error."""
    try:
        spec = parse(service)
    except InvalidSpec as error:
        return Wish(service, problem=Problem(Reason.INVALID_SPEC, str(error)), unknown=error.unknown)
    metadata = service["metadata"]
    shape = revision.shape(spec, (metadata.get("annotations") or {}).get(names.RESTART, ""))
    return Wish(service, spec, shape, revision.revision_name(metadata["name"], shape))


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of a service beside its objects."""

    now: datetime = LONG_AGO
    quality: Quality | None = None
    """How it keeps what it promises, if it promises anything."""
    evaluated: Mapping[str, Evaluated] = field(default_factory=dict)
    """How evaluations ended, by revision."""
    writer_of_replicas: str = ""
    """Who has spec.replicas in a manifest beside spec.autoscaling; empty: nobody."""


NOTHING_AROUND = Around()


def observe(wish: Wish, children: Children, config: Config, around: Around = NOTHING_AROUND) -> Seen:
    """Return what is seen of a ModelService. A spec that cannot be acted on is a problem, not an error."""
    service, spec = wish.service, wish.spec
    now = _situation(service["metadata"]["name"], children)
    if spec is None:
        return Seen(service, children, now, problem=wish.problem)
    promised = now.replicas if spec.replicas is None else spec.replicas
    if spec.replicas is None and spec.autoscaling is not None and not children.deployments:
        promised = max(1, spec.autoscaling.min_replicas)  # what has never been ready is not kept at zero
    now = replace(
        now,
        replicas=promised,
        rollout=spec.rollout,
        evaluation=spec.evaluation,
        startup_timeout=spec.startup_timeout.timedelta,
        orders=_orders(service),
        now=around.now,
        is_spent=around.quality is not None and around.quality.within_budget[1] is Reason.BUDGET_EXHAUSTED,
        evaluated=around.evaluated,
    )
    try:
        desired = now.entry(wish.revision) or _new_entry(wish, spec, now, config)
    except UnknownClassError as error:
        problem = Problem(Reason.UNKNOWN_ACCELERATOR_CLASS, str(error))
    except BadOverlayError as error:
        problem = Problem(Reason.BAD_OVERLAY, str(error))
    except NotAllowedError as error:
        problem = Problem(Reason.NOT_ALLOWED, str(error))
    else:
        return Seen(
            service,
            children,
            replace(now, desired=desired.name),
            spec,
            desired,
            writer_of_replicas=around.writer_of_replicas,
        )
    # What is under way or serves goes on: scaling and repair do not wait for the spec to be mended.
    now = replace(now, desired=now.newcomer or now.desired)
    return Seen(service, children, now, spec, problem=problem, writer_of_replicas=around.writer_of_replicas)


def _orders(service: Body) -> Orders:
    notes = service["metadata"].get("annotations") or {}
    return Orders(*(notes.get(name, "") for name in (names.PROMOTE, names.ROLLBACK, names.RETRY)))


def kept_by(name: str, children: Children) -> str:
    """Return the Lease with which the children of a ModelService are marked; empty: nobody's, or there are none.

    The Service that carries the requests decides, else what is there in the order of what a service cannot be without:
    old lines of the ledger keep the marks of whoever wrote them.
    """
    newest_first = sorted(children.revisions.values(), key=lambda line: -int(line.get("revision", 0)))
    for body in (children.services.get(name), *children.deployments.values(), *newest_first):
        if body is not None:
            return str((body["metadata"].get("annotations") or {}).get(names.LEASE, ""))
    return ""


def outdated(seen: Seen, config: Config) -> str:
    """Say so if the desired revision runs a template that would be rendered differently today; else return nothing.

    An upgrade or another configuration must not roll pods by itself, but whoever runs them may want to know.
    """
    if seen.desired is None or seen.spec is None or seen.situation.entry(seen.desired.name) is None:
        return ""
    try:
        today = _template(seen.name, seen.desired.name, seen.spec, config)
    except (UnknownClassError, BadOverlayError, NotAllowedError) as error:
        return f"Revision {seen.desired.name} would be refused today: {error}"
    if today == seen.desired.template:
        return ""
    return (
        f"Revision {seen.desired.name} runs the pod template that the operator rendered when it was recorded; this "
        f"version and configuration of the operator render another one. A new value of the annotation {names.RESTART} "
        "rolls the pods to it, through all gates."
    )


def _situation(name: str, children: Children) -> Situation:
    """Return what can be said without the spec: what serves is desired, and as many of it as were promised last."""
    lines = tuple(ledger.entry(body, children.pins) for body in children.revisions.values())
    has_service = name in children.services
    now = Situation(desired="", replicas=0, ledger=lines, workloads=_workloads(children), has_service=has_service)
    now = replace(now, traffic=_traffic(now, children.services.get(name)))
    stable = now.stable.name if now.stable else ""
    return replace(now, desired=stable, replicas=_promised_last(stable, children.deployments))


def _workloads(children: Children) -> dict[str, Workload]:
    of_revision: dict[str, list[Body]] = {name: [] for name in children.deployments}
    for pod in children.pods.values():
        if name := pod["metadata"]["labels"].get(names.REVISION):
            of_revision.setdefault(name, []).append(pod)
    return {name: pods.workload(children.deployments.get(name), own) for name, own in of_revision.items()}


def _traffic(now: Situation, service: Body | None) -> frozenset[str]:
    """Return the revisions that the live Service selects."""
    if service is None:
        return frozenset()
    selected = (service["spec"].get("selector") or {}).get(names.REVISION)
    if selected is None:
        return now.behind_wide_selector()
    return frozenset() if selected == names.NO_REVISION else frozenset({selected})


def _promised_last(stable: str, deployments: ByName) -> int:
    """Return the number of pods that was promised when the Deployments were written, and 1 where there is none."""
    for name in (stable, *sorted(deployments)):
        if (body := deployments.get(name)) is not None:
            note = (body["metadata"].get("annotations") or {}).get(names.PROMISED, "")
            return int(note) if note.isdecimal() else int(body["spec"].get("replicas", 1))
    return 1


def _new_entry(wish: Wish, spec: ModelServiceSpec, now: Situation, config: Config) -> Entry:
    """Return the ledger's line for a revision that it does not have yet, with a freshly rendered template."""
    template = _template(wish.service["metadata"]["name"], wish.revision, spec, config)
    return Entry(wish.revision, now.next_sequence, spec=wish.shape, template=template)


def _template(name: str, revision: str, spec: ModelServiceSpec, config: Config) -> Body:
    """Render the pods of a revision, within the administrator's limits.

    What the ledger has already is not asked again: a limit that comes later stops nothing, and no way back.
    """
    template = pod_template(name, revision, spec, config)
    limits.check(spec, template["spec"], config)
    return template
