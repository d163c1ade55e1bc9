"""Has candidates evaluated: the Jobs that do it come and go here, and their last words are read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.engine.store import Key
from modelservice_operator.kube.errors import Forbidden
from modelservice_operator.kube.resources import EVENTS, PODS
from modelservice_operator.render.evaluation import digest_of, evaluation_job, revision_service
from modelservice_operator.rollout.evaluated import ended_time, has_ended, is_under_way, outcome, trouble
from modelservice_operator.rollout.situation import Evaluated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelservice_operator.api.types import ModelServiceSpec
    from modelservice_operator.config import Config
    from modelservice_operator.engine.apply import Applier
    from modelservice_operator.observe import Children, Seen
    from modelservice_operator.rollout.decision import Plan

Body = dict[str, Any]

_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=5)
_STARTS_WITHIN, _LOOK_EVERY = timedelta(seconds=5), timedelta(seconds=15)


@dataclass(slots=True)
class _Course:
    """What is remembered of the evaluation of a revision."""

    job: str
    """UID of its Job."""
    tries: int
    """How many Jobs there were, which tells how patient to be."""
    found: Evaluated | None = None
    """How that Job has ended, or why its pod does not run."""
    looked: datetime | None = None
    """When somebody looked why its pod does not run."""


class Evaluations:
    """Between two calls it keeps only what it could find out again, and how patient it has become."""

    def __init__(self, applier: Applier, config: Config, clock: Callable[[], datetime]) -> None:
        self._applier = applier
        self._config = config
        self._clock = clock
        self._courses: dict[Key, dict[str, _Course]] = {}  # by service and revision

    async def outcomes(self, key: Key, spec: ModelServiceSpec | None, children: Children) -> Mapping[str, Evaluated]:
        """Return how the evaluations did that have come to an end, or why they do not begin, by revision."""
        outcomes = {}
        for job in children.jobs.values():
            course = self._course(key, job)
            await self._follow(job, course)
            if course.found is not None and _is_asked_for(job, spec):
                outcomes[job["metadata"]["labels"][names.REVISION]] = course.found
        return outcomes

    async def keep(self, seen: Seen, plan: Plan) -> None:
        """Have the Job and the Service of the plan, and no others."""
        revision, children, key = plan.evaluate, seen.children, Key(seen.namespace, seen.name)
        for name, job in children.jobs.items():
            is_current = name == names.evaluation(revision) and _is_asked_for(job, seen.spec)
            if not is_current or self._is_due_again(key, job):
                await self._applier.remove(job)
        for name, body in children.services.items():
            if names.REVISION in body["metadata"]["labels"] and name != revision:
                await self._applier.remove(body)
        if not revision or seen.spec is None:
            self.forget(key)
            return
        entry = seen.situation.known(revision)
        what = (seen.namespace, seen.name, seen.spec, entry)
        await self._applier.ensure(seen.service, revision_service(*what), children.services.get(revision))
        if names.evaluation(revision) not in children.jobs:
            await self._applier.ensure(seen.service, evaluation_job(*what, self._config), None)

    def again(self, key: Key, children: Children) -> timedelta | None:
        """Return when an evaluation that came to no verdict is to be tried again, or to be asked why it is late."""
        times = [self._due(job, self._course(key, job)) for job in children.jobs.values() if not is_under_way(job)]
        return max(min(times) - self._clock(), timedelta(0)) if times else None

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a service of which nothing is being evaluated."""
        self._courses.pop(key, None)

    def _course(self, key: Key, job: Body) -> _Course:
        courses, revision = self._courses.setdefault(key, {}), job["metadata"]["labels"][names.REVISION]
        course, uid = courses.get(revision), job["metadata"]["uid"]
        if course is None or course.job != uid:
            course = courses[revision] = _Course(uid, course.tries + 1 if course is not None else 1)
        return course

    async def _follow(self, job: Body, course: _Course) -> None:
        """Find out what came of a Job, once; or now and then why its pod does not run, as nobody tells of that."""
        if has_ended(job):
            if course.found is None or course.found.trouble is not None:
                course.found = outcome(job, await self._pods(job))
        elif is_under_way(job):
            course.found = None
        elif self._due(job, course) <= self._clock():
            course.looked = self._clock()
            pods = await self._pods(job)
            found = trouble(pods, [] if pods else await self._refusals(job))
            course.found = Evaluated(trouble=found) if found is not None else None

    async def _pods(self, job: Body) -> list[Body]:
        metadata = job["metadata"]
        selector = f"batch.kubernetes.io/job-name={metadata['name']}"
        return await self._applier.find(PODS, metadata["namespace"], selector=selector)

    async def _refusals(self, job: Body) -> list[Body]:
        metadata = job["metadata"]
        try:
            fields = f"regarding.uid={metadata['uid']},reason=FailedCreate"
            return await self._applier.find(EVENTS, metadata["namespace"], fields=fields)
        except Forbidden:
            return []

    def _is_due_again(self, key: Key, job: Body) -> bool:
        """Tell whether an evaluation without a verdict has waited long enough; a verdict is not asked for twice."""
        return has_ended(job) and self._due(job, self._course(key, job)) <= self._clock()

    def _due(self, job: Body, course: _Course) -> datetime:
        """Return when to act: to try again what has ended, or to look at what has not begun."""
        if has_ended(job):
            patience: timedelta = min(_FIRST_WAIT * 2 ** min(course.tries - 1, 10), _LONGEST_WAIT)
            return datetime.fromisoformat(ended_time(job)) + patience
        if course.looked is not None:
            return course.looked + _LOOK_EVERY
        return datetime.fromisoformat(job["metadata"]["creationTimestamp"]) + _STARTS_WITHIN


def _is_asked_for(job: Body, spec: ModelServiceSpec | None) -> bool:
    """Tell whether a Job asks what the spec asks for now."""
    if spec is None or spec.evaluation is None:
        return False
    return bool(job["metadata"]["annotations"].get(names.EVALUATION) == digest_of(spec.evaluation))
