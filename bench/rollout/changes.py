"""What users do to services in this benchmark, change by change, and what has to become of each revision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from e2e import digits
from e2e.digits import EVALUATION, Coded, Trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Spec = dict[str, Any]


class Kind(StrEnum):
    """What a change is an example of."""

    GOOD = "good"
    GATE = "bad, seen before it has traffic"
    LIVE = "bad, seen by live requests only"
    REVERT = "reverted on its way"
    ORDER = "given up by hand"


@dataclass(frozen=True, slots=True)
class End:
    """What becomes of a revision: a decision in the history, a wait that the status tells, or nothing."""

    decision: str = ""
    reason: str = ""
    """Of the decision, or of the wait; empty: whatever it is."""
    words: str = ""
    """What the status says of a wait, among other things."""


PROMOTED = End("Promoted")
SUPERSEDED = End("Superseded", "NewerSpec")
ORDERED = End("RolledBack", "RolledBack")
SLOWER = End("RolledBack", "LatencyRegression")
NEVER_READY = End("Failed", "NeverReady")
GATE_FAILED = End("Failed", "GateFailed")
RETURNED = End()

SETTLED = "Settled"
"""The phase of a service that tells of no rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A spec that is applied, perhaps something else that is done on the way, and the end."""

    title: str
    kind: Kind
    ends: End
    spec: Spec | None = None
    """None: what is done is done to what serves."""
    at: str = ""
    """The phase of the rollout that is waited for, and then:"""
    then: str | Spec = ""
    """A command of `kubectl modelservice`, or another spec."""
    keeps: bool = True
    """Whether the pods of the revision before are there when this one is given up."""


TRAINED = {
    **{f"good-{seed}": Trained(30, seed) for seed in range(10)},
    "weak": Trained(1),
    "shuffled": Trained(30, data="shuffled"),
}
CODED = {
    "slow": Coded("good-0", digits.slow(0.3)),
    "crashing": Coded("good-0", digits.BROKEN),
    "not-a-number": Coded("good-0", digits.NOT_A_NUMBER),
}
# Of models that were good: one whose golden outputs are others', and one whose file ends too early.
SPOILT = f"""
import pathlib, shutil
import numpy as np
folder = pathlib.Path("{digits.FOLDER}")
for name in ("other-golden", "cut-off"):
    shutil.copytree(folder / "good-0", folder / name, dirs_exist_ok=True)
golden = dict(np.load(folder / "good-0/golden.npz"))
golden["outputs.y"] += 1
np.savez(folder / "other-golden/golden.npz", **golden)
whole = (folder / "good-0/weights.safetensors").read_bytes()
(folder / "cut-off/weights.safetensors").write_bytes(whole[: len(whole) // 2])
"""

_SOON = {"startupTimeout": "20s"}
_FAST = {**EVALUATION, "metrics": [*EVALUATION["metrics"], {"name": "latency_p95", "max": "200ms"}]}
_EVALUATED = {"evaluation": _FAST}
_ANALYSIS = {"minRequests": 100, "maxLatencyRegression": "100%"}
_PATIENT = {**_ANALYSIS, "onNoTraffic": "Hold"}  # else a passed evaluation is enough where few ask
_HALF = {"weight": "50%", "pause": "2s"}
_HELD = {"rollout": {"steps": [{"weight": "50%", "pause": "10m"}]}}
_ALL = {"weight": "100%", "pause": "2s"}
_BLUE_GREEN = {"rollout": {"steps": [_ALL]}}


def serves(name: str, **more: Any) -> Spec:  # noqa: ANN401 - whatever the API takes
    """Return the spec of a service of this model."""
    trust = "Native" if name in CODED else "Data"
    digest = more.pop("digest", None)
    return {"model": digits.model(name, trust=trust, **({"digest": digest} if digest else {})), "replicas": 2, **more}


def _rollout(*steps: Spec, **more: Any) -> Spec:  # noqa: ANN401 - as above
    return {"rollout": {"steps": [*steps], **more}}


def _again(number: int) -> Spec:
    """Return what makes another revision of the same model."""
    return {"podTemplate": {"metadata": {"labels": {"try": str(number)}}}}


FIRST = serves("good-0", **_EVALUATED)

# Two services, at the same time: one that has its revisions evaluated, and one that lets live requests judge.
CHANGES: Mapping[str, Sequence[Change]] = {
    "gated": (
        Change(title="one that learned less", kind=Kind.GATE, spec=serves("weak", **_EVALUATED), ends=GATE_FAILED),
        Change(title="another seed", kind=Kind.GOOD, spec=serves("good-1", **_EVALUATED), ends=PROMOTED),
        Change(title="shuffled labels", kind=Kind.GATE, spec=serves("shuffled", **_EVALUATED), ends=GATE_FAILED),
        Change(title="crashes", kind=Kind.GATE, spec=serves("crashing", **_EVALUATED, **_SOON), ends=NEVER_READY),
        Change(
            title="golden outputs of another",
            kind=Kind.GATE,
            spec=serves("other-golden", **_EVALUATED, **_SOON),
            ends=NEVER_READY,
        ),
        Change(title="a cut off file", kind=Kind.GATE, spec=serves("cut-off", **_EVALUATED, **_SOON), ends=NEVER_READY),
        Change(title="an added sleep", kind=Kind.GATE, spec=serves("slow", **_EVALUATED), ends=GATE_FAILED),
        Change(
            title="answers NaN",
            kind=Kind.GATE,
            spec=serves("not-a-number", **_EVALUATED),
            ends=End(reason="Evaluating", words="NaN"),
        ),
        Change(
            title="not what its digest says",
            kind=Kind.GATE,
            spec=serves("good-2", **_EVALUATED, digest="sha256:" + "0" * 64),
            ends=End(reason="DigestMismatch", words="0" * 64),
        ),
        Change(
            title="evaluated, then blue/green",
            kind=Kind.GOOD,
            spec=serves("good-2", **_EVALUATED, **_BLUE_GREEN),
            ends=PROMOTED,
        ),
        Change(
            title="reverted during its evaluation",
            kind=Kind.REVERT,
            spec=serves("good-3", **_EVALUATED),
            at="Evaluating",
            then=serves("good-2", **_EVALUATED),
            ends=RETURNED,
        ),
        Change(title="restart", kind=Kind.GOOD, at=SETTLED, then="restart", ends=PROMOTED),
    ),
    "live": (
        Change(title="rolling", kind=Kind.GOOD, spec=serves("good-1"), ends=PROMOTED),
        Change(
            title="a step, live requests",
            kind=Kind.GOOD,
            spec=serves("good-2", **_rollout(_HALF, analysis=_ANALYSIS)),
            ends=PROMOTED,
        ),
        Change(
            title="slow, seen at a step",
            kind=Kind.LIVE,
            spec=serves("slow", **_rollout(_HALF, analysis=_ANALYSIS)),
            ends=SLOWER,
        ),
        Change(title="blue/green", kind=Kind.GOOD, spec=serves("good-3", **_BLUE_GREEN), ends=PROMOTED),
        Change(
            title="slow, seen at its first pod",
            kind=Kind.LIVE,
            spec=serves("slow", **_rollout(analysis=_ANALYSIS), **_again(2)),
            ends=SLOWER,
        ),
        Change(
            title="one pod makes room",
            kind=Kind.GOOD,
            spec=serves("good-4", **_rollout(capacity="Replace")),
            ends=PROMOTED,
        ),
        Change(
            title="slow, but evaluated well",
            kind=Kind.LIVE,
            spec=serves("slow", evaluation=EVALUATION, **_rollout(_HALF, analysis=_PATIENT), **_again(3)),
            ends=SLOWER,
        ),
        Change(
            title="reverted at a step",
            kind=Kind.REVERT,
            spec=serves("good-5", **_HELD),
            at="Analysing",
            then=serves("good-4"),
            ends=RETURNED,
        ),
        Change(
            title="a newer spec at a step",
            kind=Kind.REVERT,
            spec=serves("good-6", **_HELD),
            at="Analysing",
            then=serves("good-7", **_rollout(_HALF, {"weight": "100%"})),
            ends=SUPERSEDED,
        ),
        Change(title="back to what served before", kind=Kind.GOOD, spec=serves("good-4"), ends=PROMOTED),
        Change(
            title="given up at a step",
            kind=Kind.ORDER,
            spec=serves("good-8", **_HELD),
            at="Analysing",
            then="rollback",
            ends=ORDERED,
        ),
        Change(
            title="blue/green, old pods kept",
            kind=Kind.GOOD,
            spec=serves("good-9", **_rollout(_ALL, keepPrevious="30m")),
            ends=PROMOTED,
        ),
        Change(title="given up, old pods kept", kind=Kind.ORDER, at=SETTLED, then="rollback", ends=ORDERED),
        Change(
            title="paused, resumed",
            kind=Kind.GOOD,
            spec=serves("good-5", **_rollout(paused=True)),
            at="Paused",
            then="resume",
            ends=PROMOTED,
        ),
        Change(
            title="given up, old pods gone",
            kind=Kind.ORDER,
            at=SETTLED,
            then="rollback",
            ends=ORDERED,
            keeps=False,
        ),
        Change(
            title="promoted by hand at a step",
            kind=Kind.GOOD,
            spec=serves("good-6", **_HELD, **_again(4)),
            at="Analysing",
            then="promote",
            ends=PROMOTED,
        ),
    ),
}
