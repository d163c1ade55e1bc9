"""Has candidates evaluated: the Jobs that do it come and go here, and their last words are read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.kube.resources import PODS
from modelservice_operator.render.evaluation import digest_of, evaluation_job, revision_service
from modelservice_operator.rollout.evaluated import ended_time, has_ended, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelservice_operator.config import Config
    from modelservice_operator.engine.apply import Applier
    from modelservice_operator.observe import Children, Seen
    from modelservice_operator.rollout.decision import Plan
    from modelservice_operator.rollout.situation import Evaluated

Body = dict[str, Any]

_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=5)


@dataclass(slots=True)
class _Tries:
    """How often an evaluation has come to no verdict."""

    job: str
    number: int = 1


class Evaluations:
    """Between two calls it keeps only what it could find out again, and how patient it has become."""

    def __init__(self, applier: Applier, config: Config, clock: Callable[[], datetime]) -> None:
        self._applier = applier
        self._config = config
        self._clock = clock
        self._ended: dict[str, Evaluated] = {}  # by the UID of the Job
        self._tries: dict[tuple[str, str], _Tries] = {}  # by namespace and revision: twins elsewhere have its name, too

    async def outcomes(self, children: Children) -> Mapping[str, Evaluated]:
        """Return how the evaluations that have come to an end did, by revision."""
        found = {}
        for job in children.jobs.values():
            if has_ended(job):
                found[job["metadata"]["labels"][names.REVISION]] = await self._outcome(job)
        return found

    async def keep(self, seen: Seen, plan: Plan) -> None:
        """Have the Job and the Service of the plan, and no others."""
        revision, children = plan.evaluate, seen.children
        for name, job in children.jobs.items():
            is_current = seen.spec is not None and seen.spec.evaluation is not None and _is_about(job, seen)
            if name != names.evaluation(revision) or not is_current or self._is_due_again(job):
                self._ended.pop(job["metadata"]["uid"], None)
                await self._applier.remove(job)
        for name, body in children.services.items():
            if names.REVISION in body["metadata"]["labels"] and name != revision:
                await self._applier.remove(body)
        if not revision or seen.spec is None:
            return
        entry = seen.situation.known(revision)
        what = (seen.namespace, seen.name, seen.spec, entry)
        await self._applier.ensure(seen.service, revision_service(*what), children.services.get(revision))
        if names.evaluation(revision) not in children.jobs:
            await self._applier.ensure(seen.service, evaluation_job(*what, self._config), None)

    def again(self, children: Children) -> timedelta | None:
        """Return when an evaluation that came to no verdict is to be tried again."""
        waits = [self._wait(job) for job in children.jobs.values() if has_ended(job)]
        return max(min(waits), timedelta(0)) if waits else None

    async def _outcome(self, job: Body) -> Evaluated:
        metadata = job["metadata"]
        if metadata["uid"] not in self._ended:
            selector = f"batch.kubernetes.io/job-name={metadata['name']}"
            pods = await self._applier.find(PODS, metadata["namespace"], selector)
            self._ended[metadata["uid"]] = outcome(job, pods)
        return self._ended[metadata["uid"]]

    def _is_due_again(self, job: Body) -> bool:
        """Tell whether an evaluation without a verdict has waited long enough; a verdict is not asked for twice."""
        if not has_ended(job) or not self._ended.get(job["metadata"]["uid"]):
            return False
        return self._wait(job) <= timedelta(0)

    def _wait(self, job: Body) -> timedelta:
        metadata = job["metadata"]
        uid, revision = metadata["uid"], (metadata["namespace"], metadata["labels"][names.REVISION])
        tries = self._tries.setdefault(revision, _Tries(uid))
        if tries.job != uid:
            tries.job, tries.number = uid, tries.number + 1
        patience: timedelta = min(_FIRST_WAIT * 2**tries.number / 2, _LONGEST_WAIT)
        return datetime.fromisoformat(ended_time(job)) + patience - self._clock()


def _is_about(job: Body, seen: Seen) -> bool:
    """Tell whether a Job asks what the spec asks for now."""
    assert seen.spec is not None  # noqa: S101 - see the caller
    assert seen.spec.evaluation is not None  # noqa: S101 - see the caller
    return bool(job["metadata"]["annotations"].get(names.EVALUATION) == digest_of(seen.spec.evaluation))
