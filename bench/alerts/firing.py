"""Which alerts fire in a history, from when until when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promtool import Group, History, Labels, ask
from stories import groups

if TYPE_CHECKING:
    from pathlib import Path

    from stories import Outage, Story


# The series of objectives, each with its name in a label, which a comparison keeps; only NaN differs from itself.
_NAMED = 'label_replace({__name__=~"slo:.+"}, "series", "$1", "__name__", "(.+)")'


@dataclass(frozen=True)
class Firing:
    """One alert that fired."""

    labels: Labels
    first: float
    """Seconds from the beginning of the history."""
    last: float

    @property
    def kind(self) -> str:
        """Its name, with the long window of one about a budget."""
        return " ".join([self.labels["alertname"], *([self.labels["long"]] if "long" in self.labels else [])])

    @property
    def pages(self) -> bool:
        """Whether somebody is woken."""
        return self.labels["severity"] == "critical"


def firings(program: Path, groups: list[Group], history: History, *, since: int = 0) -> list[Firing]:
    """Return what fires from a time on, the first first. No series of an objective may ever be NaN."""
    ends = history.seconds
    when = f'timestamp(ALERTS{{alertstate="firing"}})[{ends - since}s:{history.evaluation}s]'
    looks = [(f"{_NAMED} != {_NAMED}", seconds) for seconds in range(ends, 0, -(ends // 8))]
    queries = [(f"min_over_time({when})", ends), (f"max_over_time({when})", ends), *looks]
    first, last, *nans = ask(program, groups, history, queries)
    assert not any(nans), nans
    lasts = {tuple(sorted(labels.items())): value for labels, value in last}
    found = [Firing(labels, value, lasts[tuple(sorted(labels.items()))]) for labels, value in first]
    return sorted(found, key=lambda firing: firing.first)


def told(program: Path, story: Story) -> list[Firing]:
    """Return what fires in a story."""
    return firings(program, groups(story.spec), story.history())


@dataclass(frozen=True)
class Paged:
    """How long an outage lasted until somebody was told of it, and how long the alerts outlasted it, in seconds."""

    tier: float
    """By the tier that the formula is about."""
    anyhow: float
    """By that tier or by the alert that covers every target."""
    cleared: float
    """Both, after the outage."""


def paged(program: Path, outage: Outage) -> Paged:
    """Return when the alerts of an outage came and went.

    Other tiers may fire earlier, because the history is shorter than their windows; they do not count.
    """
    found = firings(program, groups(outage.spec), outage.history(), since=outage.begins)
    [tier] = [firing for firing in found if firing.kind.endswith(f" {outage.tier.long}")]
    [failing] = [firing for firing in found if firing.kind == "ModelServiceFailing"]
    return Paged(
        tier=tier.first - outage.begins,
        anyhow=min(failing.first, tier.first if tier.pages else failing.first) - outage.begins,
        cleared=max(failing.last, tier.last if tier.pages else failing.last) - outage.ends,
    )
