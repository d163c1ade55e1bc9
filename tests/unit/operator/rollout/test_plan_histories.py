"""Thousands of generated histories: whatever happens, in whatever order, the plan keeps its promises."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import Capacity, Evaluation, Rollout
from modelservice_operator.monitoring.readings import Counted, Reading
from modelservice_operator.rollout import ledger
from modelservice_operator.rollout.decision import Adopt, Judge, Mark, Phase, Plan, Record
from modelservice_operator.rollout.gates import DATASET
from modelservice_operator.rollout.plan import decide
from modelservice_operator.rollout.situation import (
    Entry,
    Evaluated,
    Orders,
    Situation,
    Trouble,
    Verdict,
    Workload,
)

FETCHES = {"spec": {"initContainers": [{"name": "fetch"}]}}
CRASH = Trouble(Reason.CRASH_LOOP, "it crashes")
NO_ROOM = Trouble(Reason.UNSCHEDULABLE, "no node has room")
SPECS = ("a", "b", "c")
EVALUATION = Evaluation.model_validate(
    {"dataset": {"uri": "s3://models/x.npz"}, "metrics": [{"name": "f1", "min": "0.9", "maxRegression": "0.5"}]}
)
STEPS: list[list[dict[str, str]]] = [
    [],
    [{"weight": "100%"}],
    [{"weight": "100%", "pause": "2m"}],
    [{"weight": "10%", "pause": "2m"}, {"weight": "50%"}],
    [{"weight": "34%"}, {"weight": "100%", "pause": "1m"}],
]


@dataclass
class Pod:
    born: datetime
    has_room: bool = True
    ready: bool = False
    available: bool = False


@dataclass
class World:
    """A cluster of one service: Deployments that obey, pods that come up, fail and recover, clients, an evaluator."""

    desired: str = "a"
    replicas: int = 1
    rollout: Rollout = field(default_factory=Rollout)
    evaluation: Evaluation | None = None
    room: int = 1000  # how many pods the nodes take
    broken: set[str] = field(default_factory=set)  # their pods do not come up
    wrong: set[str] = field(default_factory=set)  # an evaluation finds them out
    failing: set[str] = field(default_factory=set)  # live requests do
    is_spent: bool = False
    has_traffic: bool = True
    orders: Orders = field(default_factory=Orders)
    waved_through: set[str] = field(default_factory=set)  # what people have ordered to be promoted
    ledger: dict[str, Entry] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    selector: tuple[str, ...] | None = ()  # None = wide
    evaluated: dict[str, Evaluated] = field(default_factory=dict)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    worse_than_promised: bool = False  # foreign hands were at work: promises to keep are off, recovery is owed

    def observe(self) -> Situation:
        seen = Situation(
            self.desired,
            self.replicas,
            tuple(self.ledger.values()),
            {name: self.workload(name) for name in self.wanted},
            rollout=self.rollout,
            evaluation=self.evaluation,
            orders=self.orders,
            is_spent=self.is_spent,
            readings={name: self.reading(name) for name in self.wanted},
            evaluated=dict(self.evaluated),
            now=self.now,
        )
        return replace(seen, traffic=seen.behind_wide_selector() if self.selector is None else frozenset(self.selector))

    def workload(self, name: str) -> Workload:
        pods = self.pods.get(name, [])
        started, homeless = [pod for pod in pods if pod.has_room], [pod for pod in pods if not pod.has_room]
        troubles = [CRASH] if name in self.broken and started else []
        return Workload(
            wanted=self.wanted[name],
            pods=len(pods),
            ready=sum(pod.ready for pod in pods),
            available=sum(pod.available for pod in pods),
            troubles=(*troubles, *([NO_ROOM] if homeless else [])),
            loads_since=min((pod.born for pod in started), default=None)
            if not any(pod.ready for pod in pods)
            else None,
            unplaced_since=min((pod.born for pod in homeless), default=None),
        )

    def reading(self, name: str) -> Reading:
        return Reading(Counted(200, 100 if name in self.failing else 0) if self.has_traffic else Counted())

    def serving(self) -> int:
        """Pods that are available and selected by the Service, and not of a revision that failed."""
        names = self.selector if self.selector is not None else tuple(self.pods)
        return sum(pod.available for name in names if not self.has_failed(name) for pod in self.pods.get(name, []))

    def has_failed(self, name: str) -> bool:
        return name in self.ledger and self.ledger[name].verdict is Verdict.FAILED

    def carry_out(self, plan: Plan) -> None:
        match plan.ledger:
            case Record():
                self.ledger[self.desired] = Entry(self.desired, len(self.ledger) + 1, template=FETCHES)
            case Judge(name) | Mark(name):
                self.check_promotion(plan.ledger)
                now = self.now.isoformat()
                self.ledger[name] = ledger.decided(self.ledger[name], plan.ledger, now, self.orders.retry)
            case Adopt(name):
                number = self.observe().next_promotion
                self.ledger[name] = Entry(name, 0, promotion=number, verdict=Verdict.PROMOTED)
        if plan.ledger is not None:
            return
        if not self.worse_than_promised:
            self.check(plan)
        if plan.evaluate:
            score = "0.1" if plan.evaluate in self.wrong else "0.95"
            self.evaluated[plan.evaluate] = Evaluated({"f1": score}, digest="sha256:2")
        self.selector = plan.traffic if len(plan.traffic) < 2 else None
        for name in {*self.wanted, *plan.replicas}:
            self.wanted[name] = plan.replicas.get(name, 0)

    def check_promotion(self, judge: Judge | Mark) -> None:
        """What must hold for a revision that takes over from another for the first time."""
        entry, seen = self.ledger[judge.revision], self.observe()
        is_first = isinstance(judge, Judge) and judge.verdict is Verdict.PROMOTED and not entry.promotion
        if not is_first or seen.stable is None or not self.replicas or self.orders.promote == entry.name:
            return
        steps = len(self.rollout.steps) or (self.rollout.analysis is not None)
        assert entry.step == steps, "promoted before the last step"
        if self.rollout.analysis is not None:
            assert self.has_traffic or DATASET in entry.measured, "promoted without a request or an evaluation"
            assert not self.has_traffic or entry.name not in self.failing, "promoted although it fails"

    def check(self, plan: Plan) -> None:
        """What must hold for every plan that moves pods or traffic."""
        seen = self.observe()
        after = {name: plan.replicas.get(name, 0) for name in {*self.wanted, *plan.replicas}}
        is_blue_green = self.rollout.steps != () and self.rollout.steps[0].weight.share == 1
        makes_room = self.rollout.capacity != "Surge" and (
            self.rollout.capacity == "Replace" or any(entry.makes_room for entry in self.ledger.values())
        )
        most = 2 * self.replicas if is_blue_green else self.replicas + 1
        idle = sum(after.values()) - sum(after[name] for name in after if name in {*plan.traffic, seen.aim})
        assert sum(after.values()) - idle <= max(most, sum(self.wanted.values())), "more pods than may be"
        assert idle <= sum(self.wanted[name] for name in self.wanted if name not in plan.traffic), (
            "an idle pod was added"
        )
        # What serves now and would not after: Deployments give up unready pods first.
        selected = plan.traffic if len(plan.traffic) < 2 else tuple(after)
        left = sum(
            min(seen.workload(name).available, after.get(name, 0)) for name in selected if not self.has_failed(name)
        )
        floor = self.replicas
        if makes_room:
            floor -= 1 if self.replicas > 1 or self.rollout.capacity == "Replace" else 0
        assert left >= min(floor, self.serving()), "gave up a pod that the promise needs"
        if len(plan.traffic) == 2:
            strangers = [n for n, load in seen.workloads.items() if n not in plan.traffic and not load.gone]
            assert not strangers, "a wide selector with a third revision"
        for name in plan.traffic:
            entry = self.ledger[name]
            assert entry.promotion or entry.verdict is not Verdict.UNDECIDED, "traffic before the ledger"
            assert entry.promotion or not self.evaluation or DATASET in entry.measured or name in self.waved_through, (
                "no gate"
            )
        assert plan.phase is Phase.SETTLED or plan.message, "waits and does not say for what"
        for name, entry in self.ledger.items():
            assert entry.pinned or after.get(name, 0) <= max(1, self.wanted.get(name, 0)), "a second pod before the pin"

    # -- what the cluster does by itself

    def run_deployments(self, *only: str) -> None:
        for name, wanted in self.wanted.items():
            if only and name not in only:
                continue
            pods = self.pods.setdefault(name, [])
            pods.sort(key=lambda pod: (pod.available, pod.ready, pod.has_room), reverse=True)
            del pods[wanted:]
            for _ in range(wanted - len(pods)):
                pods.append(Pod(self.now, has_room=False))

    def run_pods(self) -> None:
        taken = sum(pod.has_room for pods in self.pods.values() for pod in pods)
        for name, pods in self.pods.items():
            for pod in pods:
                if not pod.has_room and taken < self.room:
                    pod.has_room, taken = True, taken + 1
                healthy = name not in self.broken and pod.has_room
                pod.available = healthy and pod.ready
                pod.ready = healthy
                if healthy and name in self.ledger:
                    self.ledger[name] = replace(self.ledger[name], digest="sha256:1")

    def round(self) -> None:
        self.carry_out(decide(self.observe()))
        self.run_deployments()
        self.run_pods()
        self.now += timedelta(seconds=30)

    def settle(self, room: int = 1000) -> None:
        """Let everything come up, where there is so much room."""
        self.broken.clear()
        self.is_spent = False
        self.room = room
        self.rollout = self.rollout.model_copy(update={"paused": False})
        self.orders = Orders(retry=f"{self.orders.retry}+")
        self.has_traffic = True
        for _ in range(80 + 20 * self.replicas):
            before = self.observe()
            self.round()
            if self.observe() == replace(before, now=self.now) and decide(before).again is None:
                return


NOTHING: st.SearchStrategy[object] = st.none()


def action(kind: str, values: st.SearchStrategy[object] = NOTHING) -> st.SearchStrategy[tuple[str, object]]:
    return st.tuples(st.just(kind), values)


CLUSTER = [
    action("plan"),
    action("deployments", st.sampled_from(SPECS)),
    action("pods"),
    action("round"),
    action("room", st.integers(0, 6)),
    action("time", st.integers(1, 1000)),
]
SCALE = action("scale", st.integers(0, 5))
PEOPLE = [
    action("spec", st.sampled_from(SPECS)),
    SCALE,
    action("pause", st.booleans()),
    action("break", st.sampled_from(SPECS)),
    action("mend", st.sampled_from(SPECS)),
    action("kill", st.sampled_from(SPECS)),
    action("promote", st.sampled_from(SPECS)),
    action("rollback", st.sampled_from(SPECS)),
    action("retry", st.integers(1, 9)),
    action("spend", st.booleans()),
    action("traffic", st.booleans()),
    action("unevaluated", st.sampled_from(SPECS)),
]
FOREIGN_HANDS = [action("forget", st.sampled_from(SPECS)), action("widen")]
ROLLOUTS = st.builds(
    lambda steps, capacity, keep, analysis: Rollout.model_validate(
        {"steps": steps, "capacity": capacity, "keepPrevious": keep} | ({"analysis": analysis} if analysis else {})
    ),
    st.sampled_from(STEPS),
    st.sampled_from(["Auto", "Surge", "Replace"]),
    st.sampled_from(["0s", "5m"]),
    st.sampled_from([None, {"minRequests": 50}]),
)
WORLDS = st.builds(
    lambda replicas, rollout, evaluation, wrong, failing: World(
        replicas=replicas, rollout=rollout, evaluation=evaluation, wrong=set(wrong), failing=set(failing)
    ),
    st.integers(0, 4),
    ROLLOUTS,
    st.sampled_from([None, EVALUATION]),
    st.sets(st.sampled_from(("b", "c")), max_size=1),
    st.sets(st.sampled_from(("b", "c")), max_size=1),
)


def act(world: World, kind: str, value: object) -> None:
    match kind, value:
        case "spec", str(name):
            world.desired = name
        case "scale", int(number):
            world.replicas = number
        case "pause", bool(flag):
            world.rollout = world.rollout.model_copy(update={"paused": flag})
        case "break", str(name):
            world.broken.add(name)
        case "mend", str(name):
            world.broken.discard(name)
        case "kill", str(name):
            if pods := world.pods.get(name):
                pods[0] = Pod(world.now, has_room=False)
        case "promote" | "rollback", str(name):
            world.orders = replace(world.orders, **{kind: name})
            world.waved_through |= {name} if kind == "promote" else set()
        case "retry", int(token):
            world.orders = replace(world.orders, retry=str(token))
        case "spend", bool(flag):
            world.is_spent = flag
        case "traffic", bool(flag):
            world.has_traffic = flag
        case "unevaluated", str(name):
            world.evaluated[name] = Evaluated(problem="The dataset cannot be fetched.")
        case "room", int(number):
            world.room = number
        case "time", int(seconds):
            world.now += timedelta(seconds=seconds)
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


def ends_well(world: World) -> None:
    """Either the desired revision is in force, or it is refused for a reason, and the one before serves in full."""
    seen = world.observe()
    plan, stable = decide(seen), seen.stable
    is_bad = world.desired in world.failing | world.wrong
    if plan.phase is Phase.FAILED:
        assert is_bad
        assert plan.message
        assert stable is None or stable.name == seen.aim
        if stable is None:
            assert world.selector == ()
            return
    elif seen.replicas == 0 and plan.phase is Phase.WAITING:
        assert world.evaluation is not None
        return
    else:
        assert plan.phase is Phase.SETTLED, plan
        assert stable is not None
        assert stable.name == world.desired
    assert stable is not None
    assert world.selector == (stable.name,)
    world.now += timedelta(hours=1)  # what was kept for a while may go
    for _ in range(3):
        world.round()
    running = {name: wanted for name, wanted in world.wanted.items() if wanted}
    assert running == ({stable.name: world.replicas} if world.replicas else {})


HISTORIES = st.lists(st.one_of(PEOPLE + CLUSTER * 2), max_size=60)
HISTORIES_AT_ONE_SIZE = st.lists(st.one_of([each for each in PEOPLE if each is not SCALE] + CLUSTER * 2), max_size=10)


@given(WORLDS, st.booleans(), HISTORIES)
def test_every_history_keeps_the_promises_and_ends_in_the_desired_revision_or_says_why_not(
    world: World, settled: bool, history: list[tuple[str, object]]
) -> None:
    if settled:
        world.settle()
    for kind, value in history:
        act(world, kind, value)
    world.settle()
    ends_well(world)


@given(WORLDS, HISTORIES)
def test_the_way_back_is_open_from_every_step(world: World, history: list[tuple[str, object]]) -> None:
    """Whatever is under way when the spec goes back to what was stable: that serves again."""
    world.replicas = max(world.replicas, 1)
    world.settle()
    for kind, value in history:
        act(world, kind, value)
    before = world.observe().stable
    assert before is not None
    world.desired = before.name
    world.settle()
    ends_well(world)
    assert world.selector == (before.name,)


@given(WORLDS, st.integers(1, 4), st.integers(0, 40), st.sampled_from(SPECS), HISTORIES_AT_ONE_SIZE)
def test_a_cluster_that_becomes_full_in_mid_roll_is_no_dead_end(
    world: World, replicas: int, rounds: int, desired: str, history: list[tuple[str, object]]
) -> None:
    """With room for what is promised and no more, forward or back: but for who waits for an extra pod for ever."""
    can_wait_for_ever = replicas == 1 or world.rollout.capacity is Capacity.SURGE
    capacity = Capacity.REPLACE if can_wait_for_ever else world.rollout.capacity
    world.replicas, world.rollout = replicas, world.rollout.model_copy(update={"capacity": capacity})
    world.settle()
    world.desired = "b"
    for _ in range(rounds):
        world.round()
    for kind, value in history:
        act(world, kind, value)
    world.desired = desired
    world.settle(room=replicas)
    ends_well(world)


@given(WORLDS, st.lists(st.one_of(FOREIGN_HANDS + PEOPLE + CLUSTER * 2), max_size=60))
def test_a_lost_ledger_line_or_a_foreign_hand_on_the_selector_is_survived(
    world: World, history: list[tuple[str, object]]
) -> None:
    world.worse_than_promised = True
    world.replicas = max(world.replicas, 1)
    world.settle()
    for kind, value in history:
        act(world, kind, value)
    world.settle()
    ends_well(world)
