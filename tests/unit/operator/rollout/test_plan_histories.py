"""Thousands of generated histories: whatever happens, in whatever order, the plan keeps its promises."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.plan import Adopt, Judge, Phase, Plan, Record, decide
from modelservice_operator.rollout.situation import Entry, Situation, Trouble, Verdict, Workload

FETCHES = {"spec": {"initContainers": [{"name": "fetch"}]}}
CRASH = Trouble(Reason.CRASH_LOOP, "it crashes")
SPECS = ("a", "b", "c")


@dataclass
class Pod:
    ready: bool = False
    available: bool = False


@dataclass
class World:
    """A cluster of one service: Deployments that obey, pods that come up, fail and recover."""

    desired: str = "a"
    replicas: int = 1
    paused: bool = False
    broken: set[str] = field(default_factory=set)
    ledger: dict[str, Entry] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    selector: tuple[str, ...] | None = ()  # None = wide

    def observe(self) -> Situation:
        workloads = {
            name: Workload(
                wanted=self.wanted[name],
                pods=len(self.pods.get(name, [])),
                ready=sum(pod.ready for pod in self.pods.get(name, [])),
                available=sum(pod.available for pod in self.pods.get(name, [])),
                troubles=(Trouble(Reason.CRASH_LOOP, "it crashes"),)
                if name in self.broken and self.wanted[name]
                else (),
            )
            for name in self.wanted
        }
        seen = Situation(self.desired, self.replicas, tuple(self.ledger.values()), workloads, frozenset(), self.paused)
        return replace(seen, traffic=seen.behind_wide_selector() if self.selector is None else frozenset(self.selector))

    def available(self) -> int:
        """Pods that are available and selected by the Service."""
        names = self.selector if self.selector is not None else tuple(self.pods)
        return sum(pod.available for name in names for pod in self.pods.get(name, []))

    def carry_out(self, plan: Plan) -> None:
        match plan.ledger:
            case Record():
                self.ledger[self.desired] = Entry(self.desired, len(self.ledger) + 1, template=FETCHES)
            case Judge(name, verdict, promotion):
                entry = self.ledger[name]
                self.ledger[name] = replace(entry, verdict=verdict, promotion=promotion or entry.promotion)
            case Adopt(name):
                number = self.observe().next_promotion
                self.ledger[name] = Entry(name, 0, promotion=number, verdict=Verdict.PROMOTED)
        if plan.ledger is not None:
            return
        self.check(plan)
        self.selector = plan.traffic if len(plan.traffic) < 2 else None
        for name in {*self.wanted, *plan.replicas}:
            self.wanted[name] = plan.replicas.get(name, 0)

    def check(self, plan: Plan) -> None:
        """What must hold for every plan that moves pods or traffic."""
        seen = self.observe()
        assert len(plan.traffic) <= 2
        after = {name: plan.replicas.get(name, 0) for name in {*self.wanted, *plan.replicas}}
        before_total = sum(self.wanted.values())
        assert sum(after.values()) <= max(self.replicas + 1, before_total), "more than one extra pod"
        # What serves now and would not after: Deployments give up unready pods first.
        selected = plan.traffic if len(plan.traffic) < 2 else tuple(after)
        left = sum(min(seen.workload(name).available, after.get(name, 0)) for name in selected)
        assert left >= min(self.replicas, self.available()), "gave up a pod that the promise needs"
        if len(plan.traffic) == 2:
            strangers = [n for n, load in seen.workloads.items() if n not in plan.traffic and not load.gone]
            assert not strangers, "a wide selector with a third revision"
        for name in plan.traffic:
            entry = self.ledger[name]
            assert entry.promotion or entry.verdict is not Verdict.UNDECIDED, "traffic before the ledger"
        assert plan.phase is Phase.SETTLED or plan.message, "waits and does not say for what"
        for name, entry in self.ledger.items():
            assert entry.pinned or after.get(name, 0) <= max(1, self.wanted.get(name, 0)), "a second pod before the pin"

    # -- what the cluster does by itself

    def run_deployments(self, *only: str) -> None:
        for name, wanted in self.wanted.items():
            if only and name not in only:
                continue
            pods = self.pods.setdefault(name, [])
            pods.sort(key=lambda pod: (pod.available, pod.ready), reverse=True)
            del pods[wanted:]
            pods.extend(Pod() for _ in range(wanted - len(pods)))

    def run_pods(self) -> None:
        for name, pods in self.pods.items():
            for pod in pods:
                healthy = name not in self.broken
                pod.available = healthy and pod.ready
                pod.ready = healthy
                if healthy and name in self.ledger:
                    self.ledger[name] = replace(self.ledger[name], digest="sha256:1")

    def round(self) -> None:
        self.carry_out(decide(self.observe()))
        self.run_deployments()
        self.run_pods()

    def settle(self) -> bool:
        """Let everything come up; return whether the desired revision came into force."""
        self.broken.clear()
        self.paused = False
        for _ in range(60 + 12 * self.replicas):
            self.round()
        return decide(self.observe()).phase is Phase.SETTLED


NOTHING: st.SearchStrategy[object] = st.none()


def action(kind: str, values: st.SearchStrategy[object] = NOTHING) -> st.SearchStrategy[tuple[str, object]]:
    return st.tuples(st.just(kind), values)


CLUSTER = [action("plan"), action("deployments", st.sampled_from(SPECS)), action("pods"), action("round")]
PEOPLE = [
    action("spec", st.sampled_from(SPECS)),
    action("scale", st.integers(0, 5)),
    action("pause", st.booleans()),
    action("break", st.sampled_from(SPECS)),
    action("mend", st.sampled_from(SPECS)),
    action("kill", st.sampled_from(SPECS)),
]
FOREIGN_HANDS = [action("forget", st.sampled_from(SPECS)), action("widen")]


def act(world: World, kind: str, value: object) -> None:
    match kind, value:
        case "spec", str(name):
            world.desired = name
        case "scale", int(number):
            world.replicas = number
        case "pause", bool(flag):
            world.paused = flag
        case "break", str(name):
            world.broken.add(name)
        case "mend", str(name):
            world.broken.discard(name)
        case "kill", str(name):
            world.pods.get(name, [])[:1] = [Pod()] if world.pods.get(name) else []
        case "forget", str(name):
            world.ledger.pop(name, None)
        case "widen", _:
            if any(entry.promotion for entry in world.ledger.values()):
                world.selector = None
        case "plan", _:
            world.carry_out(decide(world.observe()))
        case "deployments", str(name):
            world.run_deployments(name)
        case "pods", _:
            world.run_pods()
        case "round", _:
            for _ in range(3):
                world.round()


@given(st.integers(0, 4), st.booleans(), st.lists(st.one_of(PEOPLE + CLUSTER * 2), max_size=60))
def test_every_history_keeps_the_promises_and_ends_in_the_desired_revision(
    replicas: int, settled: bool, history: list[tuple[str, object]]
) -> None:
    world = World(replicas=replicas)
    if settled:
        world.settle()
    for kind, value in history:
        act(world, kind, value)
    assert world.settle()
    stable = world.observe().stable
    assert stable is not None
    assert stable.name == world.desired
    assert world.selector == (world.desired,)
    running = {name: wanted for name, wanted in world.wanted.items() if wanted}
    assert running == ({world.desired: world.replicas} if world.replicas else {})


@given(st.integers(1, 4), st.lists(st.one_of(FOREIGN_HANDS + PEOPLE + CLUSTER * 2), max_size=60))
def test_a_lost_ledger_line_or_a_foreign_hand_on_the_selector_is_survived(
    replicas: int, history: list[tuple[str, object]]
) -> None:
    world = World(replicas=replicas)
    world.check = lambda _: None  # type: ignore[method-assign]  # foreign hands break promises; recovery is owed
    world.settle()
    for kind, value in history:
        act(world, kind, value)
    assert world.settle()
    assert world.selector == (world.desired,)
