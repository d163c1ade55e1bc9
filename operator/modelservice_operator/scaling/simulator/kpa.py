"""The algorithm of Knative's autoscaler (KPA), by concurrency.

Source: knative/serving pkg/autoscaler/scaling/autoscaler.go and config/core/configmaps/autoscaler.yaml. Defaults: it
decides every 2s, aims at 70% of a pod's concurrency over 60s, panics when the last 6s ask for twice the pods that are
ready, goes up by at most 1000 times and down by at most one half, and waits for nothing before it goes down.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelservice_operator.scaling.simulator.service import Service, Signal


@dataclass(slots=True)
class Kpa:
    """One PodAutoscaler."""

    target: float
    stable_window: float = 60.0
    panic_percentage: float = 10.0
    """The panic window, of the stable one."""
    panic_threshold: float = 2.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    scale_down_delay: float = 0.0
    every: float = 2.0
    _seen: deque[tuple[float, float]] = field(
        default_factory=deque, init=False
    )  # when, and how many request-seconds until then
    _decided: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    _panicked: float | None = field(default=None, init=False)
    _most_panicked: int = field(default=0, init=False)

    def __call__(self, signal: Signal) -> int:
        """Decide once."""
        now = signal.time
        self._seen.append((now, signal.inflight_seconds))
        if len(self._seen) > round(self.stable_window / self.every) + 1:
            self._seen.popleft()
        if len(self._seen) == 1:
            return signal.asked
        stable = self._mean(self.stable_window)
        return self.decide(now, stable, self._mean(self.stable_window * self.panic_percentage / 100), signal.ready)

    def _mean(self, window: float) -> float:
        since, before = self._seen[max(0, len(self._seen) - 1 - round(window / self.every))]
        last, until = self._seen[-1]
        return (until - before) / (last - since)

    def decide(self, now: float, stable: float, panic: float, ready: int) -> int:
        """Return how many pods it asks for, by the concurrency over both windows."""
        ready = max(1, ready)
        most, least = math.ceil(self.max_scale_up_rate * ready), math.floor(ready / self.max_scale_down_rate)
        wanted = min(max(math.ceil(stable / self.target), least), most)
        in_panic = min(max(math.ceil(panic / self.target), least), most)
        if math.ceil(panic / self.target) / ready >= self.panic_threshold:
            self._panicked = now
        elif self._panicked is not None and self._panicked + self.stable_window < now:
            self._panicked, self._most_panicked = None, 0
        if self._panicked is not None:
            self._most_panicked = max(self._most_panicked, wanted, in_panic)
            wanted = self._most_panicked
        self._decided.append((now, wanted))
        while self._decided[0][0] < now - self.scale_down_delay:
            self._decided.popleft()
        return max(each for _, each in self._decided)


def on_concurrency(
    service: Service, *, share: float, stable_window: float = 60.0, scale_down_delay: float = 0.0
) -> Kpa:
    """Return one that is to keep a share of each pod's slots in use."""
    return Kpa(share * service.concurrency, stable_window=stable_window, scale_down_delay=scale_down_delay)
