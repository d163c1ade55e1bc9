"""What a decision about a rollout is made from: the ledger, the workloads, the traffic. Values only, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import Rollout
from modelservice_operator.names import FETCH
from modelservice_operator.rollout.gates import DATASET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.api.types import Evaluation
    from modelservice_operator.monitoring.readings import Reading

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Verdict(StrEnum):
    """What the ledger says of a revision's claim to traffic."""

    UNDECIDED = ""
    PASSED = "Passed"  # may take traffic
    SUPERSEDED = "Superseded"  # gave way to a newer spec while it had traffic
    PROMOTED = "Promoted"  # has been the stable revision at least once
    FAILED = "Failed"  # takes no traffic as long as the spec describes it


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: a ControllerRevision, read."""

    name: str
    sequence: int  # order of recording, from 1
    promotion: int = 0  # the stable revision has the highest; 0 = never promoted
    verdict: Verdict = Verdict.UNDECIDED
    reason: str = ""  # of the verdict, in one word
    message: str = ""  # of the verdict, in a sentence
    decided_time: str = ""
    measured: Mapping[str, str] = field(default_factory=dict)  # what the verdict was found on
    log: str = ""  # the end of that of the container that failed
    retried: str = ""  # the token of the retry annotation when it failed
    step: int = 0  # how many of the rollout's steps it has reached
    step_time: str = ""  # when it reached the last of them
    makes_room: bool = False  # old pods go before its own come, for there is no room for more
    spec: dict[str, Any] = field(default_factory=dict)  # canonical pod-shaping spec
    template: dict[str, Any] = field(default_factory=dict)  # the exact pod template
    resource_version: str = ""
    digest: str = ""  # of its model, given by the user or found by the first fetch; empty until then

    @property
    def pinned(self) -> bool:
        """Tell whether all pods of the revision are sure to run the same bytes."""
        return bool(self.digest) or not fetches(self.template.get("spec") or {})


def fetches(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod of this spec fetches a model; a model in an image of the user's is not fetched."""
    return any(container.get("name") == FETCH for container in pod.get("initContainers") or ())


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not serve, in the words of who refused."""

    reason: Reason
    message: str
    words: str = ""  # last words, which may differ from try to try by times and addresses

    @property
    def sentence(self) -> str:
        """The message with the last words."""
        return f"{self.message}: {self.words}" if self.words else self.message

    @property
    def waits_for_capacity(self) -> bool:
        """Tell whether nothing is wrong with the pod but that there is no room for it."""
        return self.reason in {Reason.UNSCHEDULABLE, Reason.WAITING_FOR_CAPACITY}


@dataclass(frozen=True, slots=True)
class Workload:
    """The Deployment of one revision and what became of its pods."""

    wanted: int = 0  # spec.replicas
    pods: int = 0  # existing pods that are not terminating
    ready: int = 0
    available: int = 0  # ready for minReadySeconds
    exists: bool = True
    troubles: tuple[Trouble, ...] = ()
    fetched: str | None = None  # digest that the first fetch reports; empty: it reports none, None: it has not ended
    loads_since: datetime | None = None  # its servers have been started since, and none has become ready
    unplaced_since: datetime | None = None  # a pod of it has had no place since

    @property
    def occupied(self) -> int:
        """Pods that exist or are about to: the larger of what was asked for and what is seen."""
        return max(self.wanted, self.pods)

    @property
    def gone(self) -> bool:
        """No pod is left and none was asked for."""
        return self.occupied == 0


ABSENT = Workload(exists=False)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """How the evaluation of a revision ended, with scores or a sentence that says why not; or why it does not begin."""

    scores: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""  # of the dataset
    problem: str = ""
    trouble: Trouble | None = None  # its pod does not run

    @property
    def measured(self) -> dict[str, str]:
        """The scores and what they were measured on, as the ledger keeps them; empty where there are none."""
        return {**self.scores, DATASET: self.digest} if self.scores else {}


@dataclass(frozen=True, slots=True)
class Orders:
    """What people asked for by annotation."""

    promote: str = ""  # the revision that need not wait or prove anything any more
    rollback: str = ""  # the revision that is to be given up
    retry: str = ""  # a token: what failed before it is tried again


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that `decide` may know about one ModelService."""

    desired: str  # name of the revision that the spec describes
    replicas: int  # how many pods are promised
    ledger: tuple[Entry, ...] = ()
    workloads: dict[str, Workload] = field(default_factory=dict)
    traffic: frozenset[str] = frozenset()  # revisions that the live Service selects
    has_service: bool = True  # without, there is none yet, or another serves until this one takes it over
    rollout: Rollout = field(default_factory=Rollout)
    evaluation: Evaluation | None = None
    startup_timeout: timedelta = timedelta(minutes=10)
    orders: Orders = field(default_factory=Orders)
    is_spent: bool = False  # an error budget is known to be
    readings: Mapping[str, Reading] = field(default_factory=dict)
    evaluated: Mapping[str, Evaluated] = field(default_factory=dict)
    now: datetime = LONG_AGO

    @property
    def paused(self) -> bool:
        """Whether new revisions are held back."""
        return self.rollout.paused

    @property
    def aim(self) -> str:
        """The revision to go to: the desired one, or if that failed the one to go back to; empty if there is none."""
        wanted = self.entry(self.desired)
        if wanted is None or wanted.verdict is not Verdict.FAILED:
            return self.desired
        promoted = [it for it in self.ledger if it.promotion and it.verdict is not Verdict.FAILED]
        return max(promoted, key=lambda it: it.promotion).name if promoted else ""

    def entry(self, name: str) -> Entry | None:
        """Return the ledger's entry of the revision `name`."""
        return next((entry for entry in self.ledger if entry.name == name), None)

    def known(self, name: str) -> Entry:
        """Return the entry, or an empty one where the ledger lost a line whose pods still have traffic."""
        return self.entry(name) or Entry(name=name, sequence=0)

    def workload(self, name: str) -> Workload:
        """Return the workload of the revision `name`, an empty one where it has no Deployment."""
        return self.workloads.get(name, ABSENT)

    @property
    def stable(self) -> Entry | None:
        """The revision with the highest promotion number."""
        promoted = [entry for entry in self.ledger if entry.promotion > 0]
        return max(promoted, key=lambda entry: entry.promotion, default=None)

    @property
    def incumbent(self) -> Entry:
        """The stable revision, where there must be one."""
        if self.stable is None:  # pragma: no cover - nobody asks before one was promoted
            raise AssertionError("asked for the stable revision before one was promoted")
        return self.stable

    @property
    def next_promotion(self) -> int:
        """The promotion number that makes a revision the stable one."""
        return max((entry.promotion for entry in self.ledger), default=0) + 1

    @property
    def next_sequence(self) -> int:
        """The number of the ledger's next line."""
        return max((entry.sequence for entry in self.ledger), default=0) + 1

    def decided(self, name: str) -> bool:
        """Tell whether the ledger ever let the revision take traffic."""
        entry = self.entry(name)
        return entry is not None and (entry.promotion > 0 or entry.verdict is not Verdict.UNDECIDED)

    @property
    def previous(self) -> Entry | None:
        """The revision that was stable before this one."""
        stable = self.stable
        promoted = [it for it in self.ledger if it.promotion and it != stable and it.verdict is not Verdict.FAILED]
        return max(promoted, key=lambda it: it.promotion, default=None)

    def since(self, time: str) -> timedelta:
        """Return how long ago a time of the ledger was; one that nobody can read was long ago."""
        try:
            return self.now - datetime.fromisoformat(time)
        except (ValueError, TypeError):
            return self.now - LONG_AGO

    def behind_wide_selector(self) -> frozenset[str]:
        """Return the revisions that a selector without a revision stands for.

        Pods of a revision that the ledger never let through do not count: whoever widened the selector, it was no
        decision, and the next plan narrows it again. Without any ledger every Deployment counts, to be adopted.
        """
        stable = self.stable
        if stable is None:
            return frozenset(self.workloads)
        with_pods = (name for name, workload in self.workloads.items() if not workload.gone)
        return frozenset({stable.name, *filter(self.decided, with_pods)})

    @property
    def newcomer(self) -> str | None:
        """The revision that shares the traffic with the stable one, while a roll is under way."""
        stable = self.stable
        return next((name for name in sorted(self.traffic) if stable is None or name != stable.name), None)
