"""Brings one ModelService to what its spec says: observe, plan, render, apply, report."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelservice_operator import autoscalers, events
from modelservice_operator.api import without_unwritten
from modelservice_operator.api.reasons import Reason
from modelservice_operator.autoscaling import Autoscaling, writer_of_replicas
from modelservice_operator.budgets import Budgets
from modelservice_operator.engine.apis import NOT_SERVED
from modelservice_operator.engine.apply import Applier, NameConflictError, owns
from modelservice_operator.engine.scrape import Scraper
from modelservice_operator.engine.store import Key, Store
from modelservice_operator.evaluations import Evaluations
from modelservice_operator.gauges import Gauges, scaling_text
from modelservice_operator.kube.errors import KubeError, TerminalError
from modelservice_operator.kube.resources import (
    ALERTMANAGER_CONFIGS,
    COLLECTORS,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    NAMESPACES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    PROMETHEUS_RULES,
    SCALED_OBJECTS,
    SERVICE_MONITORS,
    SERVICES,
    Resource,
)
from modelservice_operator.monitoring.budgets import Quality, quality
from modelservice_operator.monitoring.collectors import Collectors
from modelservice_operator.monitoring.monitored import Judgement, monitored
from modelservice_operator.monitoring.targets import targets
from modelservice_operator.observe import Around, Children, Problem, Seen, Wish, kept_by, observe, outdated, read
from modelservice_operator.optional import OptionalChild, optional_children
from modelservice_operator.price import price_per_hour
from modelservice_operator.readings import Readings
from modelservice_operator.render import children as render
from modelservice_operator.render.disruption_budget import disruption_budget
from modelservice_operator.render.network_policy import network_policy
from modelservice_operator.render.pod import serving_port, speaks_tls
from modelservice_operator.report import changes, says, status
from modelservice_operator.rollout import evidence
from modelservice_operator.rollout.decision import Adopt, Judge, Mark, Plan, Record
from modelservice_operator.rollout.ledger import decided, notes
from modelservice_operator.rollout.plan import collectable, decide, gives_something_up, removable
from modelservice_operator.rollout.situation import Entry, Verdict
from modelservice_operator.slo import dropped
from modelservice_operator.takeover import Takeover

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from modelservice_operator.config import Config
    from modelservice_operator.engine.apis import OptionalApis
    from modelservice_operator.engine.neighbours import Neighbours
    from modelservice_operator.engine.prometheus import Prometheus
    from modelservice_operator.engine.recorder import Recorder
    from modelservice_operator.engine.surroundings import Surroundings
    from modelservice_operator.observe import ByName

Body = dict[str, Any]

_log = logging.getLogger(__name__)

# What others must mend outside our sight (an object that is not ours, a quota, a policy) is looked at again so often.
LOOK_AGAIN = timedelta(seconds=30)
LOOK_AT_OTHERS_AGAIN = timedelta(seconds=10)
OTHERS_REPORT_WITHIN = timedelta(seconds=20)
_REMEMBERED_LINES = 20_000
_LOG_SECONDS = 2.0
_STEPS_AT_ONCE = 8  # more than the longest chain of ledger lines that one change can cause


class Reconciler:
    """The operator's one loop body; between two calls it keeps only what it could find out again."""

    def __init__(
        self,
        config: Config,
        store: Store,
        applier: Applier,
        *,
        apis: OptionalApis,
        surroundings: Surroundings,
        neighbours: Neighbours,
        prometheus: Prometheus | None,
        recorder: Recorder,
        clock: Callable[[], datetime],
    ) -> None:
        """`prometheus` knows of budgets; `clock` gives the time of day in UTC, for decided and transition times."""
        self._config = config
        self._store = store
        self._applier = applier
        self._apis = apis
        self._surroundings = surroundings
        self._neighbours = neighbours
        self._recorder = recorder
        self._clock = clock
        self._gauges = Gauges()
        self._budgets = Budgets(prometheus)
        self._left_alone: dict[Key, tuple[int, datetime]] = {}  # since when this generation has been somebody else's
        self._takeover = Takeover(applier, clock)
        self._evaluations = Evaluations(applier, config, clock)
        self._readings = Readings(Scraper())
        self._autoscaling = Autoscaling(self._readings, clock)
        self._writers: dict[
            Key, tuple[str, int, str]
        ] = {}  # who has spec.replicas in a manifest, by UID and generation
        self._outdated: dict[str, str] = {}  # by the UID of a line of the ledger, whose data never change

    async def __call__(self, key: Key) -> timedelta | None:
        """Take every step that can be taken now; return when to look again, None for when something changes."""
        service = self._store.service(key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            self._gauges.forget(key)
            self._left_alone.pop(key, None)
            self._takeover.forget(key)
            self._evaluations.forget(key)
            self._autoscaling.forget(key)
            self._writers.pop(key, None)
            return None  # the garbage collector removes the children, also while no operator runs
        children = self._children(service)
        if keeper := await self._neighbours.keeper(kept_by(key.name, children)):
            return await self._leave_alone(key, observe(await self._read(service), children, self._config), keeper)
        if self._left_alone.pop(key, None) is not None:
            _log.info("Taken over from another installation")
        return await self._bring(service, children)

    async def _bring(self, service: Body, children: Children) -> timedelta | None:
        wish, is_fresh = await self._read(service), False
        for _ in range(_STEPS_AT_ONCE):
            around = await self._around(wish, children)
            seen = observe(wish, children, self._config, around)
            seen = self._with_readings(seen)
            self._autoscaling.see(seen)
            plan = decide(seen.situation) if _can_plan(seen) else None
            if plan is not None and not is_fresh and gives_something_up(seen.situation, plan):
                fresh, is_fresh = await self._applier.look_again(service), True
                if fresh is None or "deletionTimestamp" in fresh["metadata"]:
                    return None  # its last event is on its way
                await self._applier.look_again_at_children(fresh, CONTROLLER_REVISIONS)
                await self._applier.look_again_at_children(fresh, SERVICES)
                service, wish, children = fresh, await self._read(fresh), self._children(fresh)
                continue
            moved, problem = False, seen.problem
            try:
                if plan is not None:
                    moved = await self._apply(seen, plan)
            except NameConflictError as error:
                problem = await self._takeover.conflict(service, error)
            except TerminalError as error:
                problem = Problem(Reason.REJECTED, f"The API server refuses a child: {error}")
            children = self._children(service)  # with what was just written
            if not moved:
                seen = observe(wish, children, self._config, around)
                await self._report(seen, plan, problem, around.quality)
                is_new = problem is not None and problem != seen.problem
                return LOOK_AGAIN if is_new else self._look_again(seen, plan)
        return timedelta(0)

    async def run(self, wake: Callable[[Iterable[Key] | None], None]) -> None:
        """Keep up with the error budgets, and with what pods answer, until cancelled."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._budgets.run(wake))
            parts.create_task(self._readings.run(wake))

    def gauges(self) -> str:
        """Return the services' own metrics."""
        return self._gauges.text() + scaling_text(self._autoscaling.figures())

    async def _around(self, wish: Wish, children: Children) -> Around:
        """Find out what no object of the service says."""
        key = Key(wish.service["metadata"]["namespace"], wish.service["metadata"]["name"])
        return Around(
            now=self._clock(),
            quality=self._quality(wish),
            evaluated=await self._evaluations.outcomes(key, wish.spec, children),
            writer_of_replicas=await self._writer_of_replicas(wish),
        )

    async def _writer_of_replicas(self, wish: Wish) -> str:
        """Ask who has the number in a manifest that an autoscaler is to write; the store does not keep writers."""
        if wish.spec is None or wish.spec.autoscaling is None or wish.spec.replicas is None:
            return ""
        metadata = wish.service["metadata"]
        key, version = Key(metadata["namespace"], metadata["name"]), (metadata["uid"], metadata["generation"])
        if (known := self._writers.get(key)) is not None and known[:2] == version:
            return known[2]
        fresh = await self._applier.look_again(wish.service)
        writer = writer_of_replicas(fresh) if fresh is not None else ""
        self._writers[key] = (*version, writer)
        return writer

    def _with_readings(self, seen: Seen) -> Seen:
        """Add what two revisions have answered since the new one has reached the step that it stands at."""
        newcomer, spec = seen.situation.newcomer, seen.spec
        if newcomer is None or seen.situation.stable is None or spec is None or spec.rollout.analysis is None:
            return seen
        entry = seen.situation.known(newcomer)
        compared = {newcomer, seen.situation.incumbent.name}
        revisions = [line for line in seen.situation.ledger if line.name in compared]
        found = targets(spec, revisions, seen.children.pods.values())
        since = entry.step_time or entry.decided_time
        readings = self._readings.want(Key(seen.namespace, seen.name), since, found)
        return replace(seen, situation=replace(seen.situation, readings=readings))

    def _look_again(self, seen: Seen, plan: Plan | None) -> timedelta | None:
        """Return when time alone may change something."""
        times = (
            self._takeover.goes_on_for(seen),
            plan.again if plan is not None else None,
            self._evaluations.again(Key(seen.namespace, seen.name), seen.children),
            autoscalers.again(seen),
        )
        return min((time for time in times if time is not None), default=None)

    async def _read(self, service: Body) -> Wish:
        """Read a ModelService. A field that only a newer CRD knows is no wish as long as nobody has written it."""
        wish = read(service)
        if wish.unknown and (fresh := await self._applier.look_again(service)) is not None:
            return read(without_unwritten(fresh, wish.unknown))  # the store does not keep who has written what
        return wish

    def _children(self, service: Body) -> Children:
        """Return what the ModelService controls; an object that only carries its label is not its child."""
        found = self._store.children(Key(service["metadata"]["namespace"], service["metadata"]["name"]))

        def own(resource: Resource) -> dict[str, Body]:
            return {name: body for name, body in found[resource].items() if owns(service, body)}

        return Children(
            revisions=own(CONTROLLER_REVISIONS),
            pins=own(CONFIG_MAPS),
            deployments=own(DEPLOYMENTS),
            services=own(SERVICES),
            budgets=own(POD_DISRUPTION_BUDGETS),
            policies=own(NETWORK_POLICIES),
            service_monitors=own(SERVICE_MONITORS),
            prometheus_rules=own(PROMETHEUS_RULES),
            alertmanager_configs=own(ALERTMANAGER_CONFIGS),
            autoscalers=own(HORIZONTAL_POD_AUTOSCALERS),
            scaled_objects=own(SCALED_OBJECTS),
            jobs=own(JOBS),
            pods=found[PODS],
        )

    # -- apply, in the order in which a crash between any two writes is harmless: ledger, pins, traffic, pods, the rest

    async def _apply(self, seen: Seen, plan: Plan) -> bool:
        """Write what the plan asks for; return whether that is ground for another plan."""
        if plan.ledger is not None:
            line = plan.ledger
            if isinstance(line, Judge):
                line = await self._with_evidence(seen, line)
            await self._write_ledger(seen, line)
            if (event := events.of_decision(line, seen.situation)) is not None:
                self._recorder.record(seen.service, event)
            if not seen.situation.ledger and not seen.situation.has_service:
                # A new service: the next plan asks whether another serves, and need not be made twice for the answer.
                with suppress(NameConflictError, TerminalError):  # it meets that, too, and knows what to say
                    await self._apply_service(seen, plan)
            return True
        if await self._pin(seen):
            return True
        is_new = await self._apply_service(seen, plan)
        is_moving = is_new or frozenset(plan.traffic) != seen.situation.traffic
        rest = (
            lambda: self._collect(seen),
            lambda: self._apply_metrics_service(seen),
            lambda: self._apply_budget(seen, plan),
            lambda: self._apply_policy(seen, plan),
            lambda: self._apply_optional(seen),
            lambda: self._takeover.relieve(seen),
            lambda: self._evaluations.keep(seen, plan),
            lambda: self._scale(seen),
        )
        await _each(lambda: self._apply_deployments(seen, plan), *(() if is_moving else rest))
        return is_moving

    async def _with_evidence(self, seen: Seen, line: Judge) -> Judge:
        """Add the end of the log of the container that failed, if it can be had soon: no verdict waits for it."""
        source = evidence.source(line, seen.children.pods.values()) if self._config.evidence.logs else None
        if source is None:
            return line
        try:
            async with asyncio.timeout(_LOG_SECONDS):
                log = await self._applier.log(seen.namespace, source.pod, source.container, previous=source.previous)
        except (KubeError, TimeoutError) as error:
            why = str(error) or "it takes too long"
            _log.warning("The log of container %s of pod %s cannot be had: %s", source.container, source.pod, why)
            return line
        return replace(line, log=evidence.end(evidence.readable(log), evidence.KEPT_BYTES))

    async def _write_ledger(self, seen: Seen, line: Record | Adopt | Judge | Mark) -> None:
        match line:
            case Record():
                assert seen.desired is not None  # noqa: S101 - a plan records only what could be rendered
                written = await self._write_line(seen, seen.desired)
                self._outdated[written["metadata"]["uid"]] = ""  # its template was rendered just now
            case Adopt(name):
                adopted = Judge(name, Verdict.PROMOTED, seen.situation.next_promotion)
                await self._write_line(seen, decided(_from_deployment(seen, name), adopted, self._now(), ""))
            case Judge(name) | Mark(name):
                known = seen.situation.entry(name)
                assert known is not None  # noqa: S101 - a plan judges only what is in the ledger
                await self._write_line(seen, decided(known, line, self._now(), seen.situation.orders.retry))

    async def _write_line(self, seen: Seen, entry: Entry) -> Body:
        manifest = render.controller_revision(seen.namespace, seen.name, entry, notes(entry))
        return await self._ensure(seen, manifest, seen.children.revisions, conditional=True)

    async def _pin(self, seen: Seen) -> bool:
        """Hold each revision whose model the user did not pin to what its first fetch found."""
        pinned = False
        for entry in seen.situation.ledger:
            if not entry.pinned and (digest := seen.situation.workload(entry.name).fetched):
                await self._ensure(seen, render.pin(seen.namespace, seen.name, entry.name, digest), seen.children.pins)
                pinned = True
        return pinned

    async def _apply_service(self, seen: Seen, plan: Plan) -> bool:
        """Tell whether it is only now ours. One that is handed over serves others' pods until ours may take traffic."""
        assert seen.spec is not None  # noqa: S101 - there is no plan without a spec
        stable = seen.situation.stable
        port = seen.spec.runtime.port
        if stable is not None:  # the Service's port is that of the revision's server while that is stable
            port = serving_port(stable.template, default=port)
        https = speaks_tls(stable.template) if stable else seen.spec.security.tls is not None
        port_name = await self._takeover.port_name(seen, port, plan.traffic)
        manifest = render.service(
            seen.namespace, seen.name, seen.spec, port, plan.traffic, https=https, port_name=port_name
        )
        live, may_take_over = seen.children.services, bool(plan.traffic)
        found = await self._ensure(seen, manifest, live, conditional=True, may_take_over=may_take_over)
        return seen.name not in live and owns(seen.service, found)

    async def _apply_deployments(self, seen: Seen, plan: Plan) -> None:
        live, now = seen.children.deployments, seen.situation
        done = removable(now, plan)
        for name in done:
            await self._applier.remove(live[name])
        # Those that run first: a newcomer that the API server refuses must not hold up their scaling and repair.
        for name in sorted({*plan.replicas, *live} - {*done}, key=lambda name: (name not in live, name)):
            entry = now.entry(name) or _from_deployment(seen, name)
            replicas = plan.replicas.get(name, 0)
            await self._ensure(seen, render.deployment(seen.namespace, seen.name, entry, replicas, now.replicas), live)

    async def _apply_metrics_service(self, seen: Seen) -> None:
        assert seen.spec is not None  # noqa: S101 - as above
        annotated = self._config.monitoring.annotations
        manifest = render.metrics_service(seen.namespace, seen.name, seen.spec, annotated=annotated)
        await self._ensure(seen, manifest, seen.children.services)

    async def _apply_budget(self, seen: Seen, plan: Plan) -> None:
        manifest = disruption_budget(seen.namespace, seen.name, seen.situation.replicas, plan.traffic)
        await self._ensure(seen, manifest, seen.children.budgets)

    async def _apply_policy(self, seen: Seen, plan: Plan) -> None:
        """Have it for the revisions that have pods, and for the desired one, before it has some."""
        assert seen.spec is not None  # noqa: S101 - as above
        of_pods = {*seen.children.deployments, *plan.replicas, seen.situation.desired}
        revisions = [seen.situation.entry(name) or _from_deployment(seen, name) for name in of_pods]
        scrapers = self._config.monitoring.namespaces
        live = seen.children.policies
        if (manifest := network_policy(seen.namespace, seen.name, seen.spec, revisions, scrapers)) is not None:
            await self._ensure(seen, manifest, live)
        elif seen.name in live:
            await self._applier.remove(live[seen.name])

    async def _apply_optional(self, seen: Seen) -> None:
        """What the cluster cannot have is left out, which is no error: every service is looked at when it can."""
        for child in (*self._optional(seen), *self._autoscalers(seen)):
            if not child.possible:
                continue
            if child.wanted is not None:
                await self._ensure(seen, child.wanted, child.live)
            for name, body in child.live.items():
                if child.wanted is None or name != child.wanted["metadata"]["name"]:
                    await self._applier.remove(body)

    def _optional(self, seen: Seen) -> tuple[OptionalChild, ...]:
        return optional_children(seen, self._config, self._collectors(seen.namespace), self._apis.why_not)

    def _autoscalers(self, seen: Seen) -> tuple[OptionalChild, ...]:
        return autoscalers.autoscalers(seen, self._config, self._apis.why_not)

    def _collectors(self, namespace: str) -> Collectors:
        around = self._surroundings
        objects = tuple(body for kind in COLLECTORS for _, body in sorted(around.of(kind).items()))
        words = [self._apis.why_not(kind, namespace) for kind in COLLECTORS]
        unseen = [why for why in words if why not in {"", NOT_SERVED}]
        if not around.kinds:
            unseen = ["this operator looks after some namespaces only and does not read those of others"]
        return Collectors(namespace, around.of(NAMESPACES).get(("", namespace), {}), objects, "; ".join(unseen))

    async def _scale(self, seen: Seen) -> None:
        """Write how many replicas are to be: what was decided, or, where the field is absent, the number that runs.

        An absent `spec.replicas` would make `/scale` fail for everyone.
        """
        if seen.spec is not None and seen.spec.replicas is None:
            await self._applier.scale(seen.service, seen.situation.replicas)
        elif (decision := self._autoscaling.change(seen)) is not None:
            await self._applier.scale(seen.service, decision.replicas)
            self._autoscaling.changed(seen, decision, self._now())
            self._recorder.record(seen.service, events.of_scaling(seen.situation.replicas, decision))

    async def _collect(self, seen: Seen) -> None:
        """Drop the ledger's oldest lines, and the pins that only they need.

        A pin can be seen before the line that it belongs to, and cannot be found again once the pods are gone.
        """
        dropped, lines = set(collectable(seen.situation)), seen.children.revisions
        for name in dropped:
            await self._applier.remove(lines[name])
        for name, body in seen.children.pins.items():
            line = lines.get(name) or await self._applier.look(CONTROLLER_REVISIONS, seen.namespace, name)
            if line is None or name in dropped:
                await self._applier.remove(body)

    async def _ensure(
        self, seen: Seen, manifest: Body, live: ByName, *, conditional: bool = False, may_take_over: bool = True
    ) -> Body:
        known = live.get(manifest["metadata"]["name"])
        return await self._applier.ensure(
            seen.service, manifest, known, conditional=conditional, may_take_over=may_take_over
        )

    # -- what another installation keeps

    async def _leave_alone(self, key: Key, seen: Seen, keeper: str) -> timedelta:
        """Write nothing of what another one keeps; it reports, too. Only where it does not, say why nothing happens.

        So of two that report, each writes at most once for a generation, and the one that acts has the last word.
        """
        generation, told = seen.service["metadata"]["generation"], seen.service.get("status") or {}
        known = self._left_alone.get(key)
        if known is None:
            _log.info("Left alone: another installation keeps it, %s", keeper)
        if known is None or known[0] != generation:
            known = self._left_alone[key] = (generation, self._clock())
        is_reported = told.get("observedGeneration") == generation
        if says(told, Reason.MANAGED_BY_OTHER) or (
            not is_reported and self._clock() - known[1] >= OTHERS_REPORT_WITHIN
        ):
            message = (
                f"Another installation of the operator keeps this, {keeper}, and does not look after it. "
                "End that installation, or have it look after this namespace."
            )
            await self._report(seen, None, Problem(Reason.MANAGED_BY_OTHER, message), self._quality(seen))
        else:
            self._gauges.forget(key)
        self._autoscaling.forget(key)
        return LOOK_AT_OTHERS_AGAIN

    # -- report

    async def _report(self, seen: Seen, plan: Plan | None, problem: Problem | None, quality: Quality | None) -> None:
        found = status(
            seen,
            plan,
            problem,
            self._now(),
            outdated=self._is_outdated(seen),
            monitored=self._monitored(seen),
            quality=quality,
            autoscaled=self._autoscaling.judge(seen) or self._judge_others(seen),
            scaled=self._autoscaling.written(seen),
        )
        phase = plan.phase.value if plan is not None else ""
        price = price_per_hour(seen.situation, self._config)
        wanted = seen.situation.replicas
        self._gauges.show(Key(seen.namespace, seen.name), found, wanted=wanted, phase=phase, price=price)
        before = seen.service.get("status") or {}
        if patch := changes(before, found):
            await self._applier.patch_status(seen.service, patch)
            for event in events.of_status(before, found):
                self._recorder.record(seen.service, event)

    def _judge_others(self, seen: Seen) -> Judgement | None:
        """Judge the autoscaler of somebody else, where one is to decide."""
        return autoscalers.judge(seen, self._config, self._autoscalers(seen)) if seen.spec is not None else None

    def _monitored(self, seen: Seen) -> Judgement | None:
        """Judge whether the service is watched, for those who asked for that."""
        spec = seen.spec
        if spec is None or not any((spec.slo, spec.monitoring.alerting, spec.monitoring.drift)):
            return None
        left_out = dropped(spec.slo) if spec.slo is not None else []
        return monitored(self._optional(seen), self._collectors(seen.namespace), left_out)

    def _quality(self, of: Wish | Seen) -> Quality | None:
        """Tell how the service keeps what it promises, if it promises anything."""
        if of.spec is None or of.spec.slo is None:
            return None
        told, metadata = (of.service.get("status") or {}).get("slo") or (), of.service["metadata"]
        return quality(of.spec.slo, self._budgets.of(Key(metadata["namespace"], metadata["name"])), told)

    def _is_outdated(self, seen: Seen) -> str:
        """Say what `outdated` says, which for a line of the ledger is always the same, without rendering each time."""
        line = seen.children.revisions.get(seen.desired.name) if seen.desired is not None else None
        if line is None:
            return ""
        if len(self._outdated) >= _REMEMBERED_LINES:
            self._outdated.clear()
        uid = line["metadata"]["uid"]
        if uid not in self._outdated:
            self._outdated[uid] = outdated(seen, self._config)
        return self._outdated[uid]

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


async def _each(*parts: Callable[[], Awaitable[None]]) -> None:
    """Do every part, whatever is refused to another; raise what was refused first."""
    refused: list[NameConflictError | TerminalError] = []
    for part in parts:
        try:
            await part()
        except (NameConflictError, TerminalError) as error:
            refused.append(error)
    if refused:
        raise refused[0]


def _can_plan(seen: Seen) -> bool:
    """Without a spec nobody knows how many replicas are promised; without any revision there is nothing to keep."""
    return seen.spec is not None and seen.situation.desired != ""


def _from_deployment(seen: Seen, name: str) -> Entry:
    """Return the line that the ledger has lost of a revision whose Deployment is still there."""
    known = seen.desired if seen.desired is not None and seen.desired.name == name else None
    template = seen.children.deployments[name]["spec"]["template"]
    return Entry(name, seen.situation.next_sequence, spec=known.spec if known else {}, template=template)
