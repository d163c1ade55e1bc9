"""The algorithm of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), as kube-controller-manager has it.

Source: pkg/controller/podautoscaler/{horizontal,replica_calculator}.go and the page "Horizontal Pod Autoscaling" of the
Kubernetes documentation. Defaults: it syncs every 15s, ignores 10% around the target, takes the highest of the
recommendations of the last 300s when it goes down, and in 15s at most doubles or adds 4, whichever is more.

KEDA gives the HPA an External metric with an AverageValue, and leaves 1 to N to it (keda.sh, "Scaling Deployments").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from modelservice_operator.scaling.simulator.service import Service, Signal

SYNC_SECONDS: Final = 15.0
PERIOD_SECONDS: Final = 15.0
MOST_PODS: Final = 4
TOLERANCE: Final = 0.1
STABILIZATION_SECONDS: Final = 300.0


class Metric(StrEnum):
    """What it goes by."""

    INFLIGHT = "inflight"
    """An External metric, the sum over all pods, with an AverageValue."""
    CPU = "cpu"
    """A Resource metric with an averageUtilization: the share of slots in use, which is more than a CPU tells."""


@dataclass(slots=True)
class Hpa:
    """One HorizontalPodAutoscaler."""

    metric: Metric
    target: float
    """Requests for each pod, or the share of its CPU."""
    min_replicas: int = 1
    max_replicas: int = 1
    concurrency: float = 1.0
    """So many requests use all of a pod's CPU."""
    stabilization: float = STABILIZATION_SECONDS
    scrape: float = 15.0
    """Its figures are gathered so often, and so old they may be."""
    every: float = SYNC_SECONDS
    _scraped: tuple[float, float] = field(default=(-math.inf, 0.0), init=False)  # when, and what
    _busy: tuple[float, float] = field(default=(0.0, 0.0), init=False)  # when, and how much until then
    _recommended: list[tuple[float, int]] = field(default_factory=list, init=False)
    _changes: list[tuple[float, int]] = field(default_factory=list, init=False)

    def __call__(self, signal: Signal) -> int:
        """Sync once."""
        if signal.time - self._scraped[0] >= self.scrape:
            self._scraped = (signal.time, self._value(signal))
        return self.sync(signal.time, self._scraped[1], signal.asked, signal.ready)

    def _value(self, signal: Signal) -> float:
        if self.metric is Metric.INFLIGHT:
            return float(signal.inflight)
        since, before = self._busy
        self._busy = (signal.time, signal.busy_seconds)
        return (signal.busy_seconds - before) / max(1.0, signal.time - since) / self.concurrency  # in whole CPUs

    def sync(self, now: float, value: float, current: int, ready: int) -> int:
        """Return how many replicas it asks for; `value` is the metric summed over all pods."""
        desired = self._recommend(value, current, ready)
        desired = max(self.min_replicas, min(self.max_replicas, desired))
        if not self._recommended:
            self._recommended.append((now, current))  # what it finds counts as recommended
        self._recommended = [each for each in self._recommended if each[0] > now - self.stabilization]
        self._recommended.append((now, desired))
        if desired < current:
            desired = min(current, max(each for _, each in self._recommended))
        if desired > current:
            self._changes = [each for each in self._changes if each[0] > now - PERIOD_SECONDS]
            before = current - sum(each for _, each in self._changes)
            desired = max(current, min(desired, max(2 * before, before + MOST_PODS)))
            self._changes.append((now, desired - current))
        return desired

    def _recommend(self, value: float, current: int, ready: int) -> int:
        if self.metric is Metric.INFLIGHT:
            ratio = value / (self.target * current)
            return current if abs(ratio - 1) <= TOLERANCE else math.ceil(value / self.target)
        if not ready:
            return current
        ratio = value / ready / self.target
        if ratio > 1 and current > ready:  # those that are not ready count as idle, when it would go up
            ratio = value / current / self.target
            return current if ratio <= 1 + TOLERANCE else math.ceil(ratio * current)
        return current if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * ready)


def on_inflight(service: Service, *, share: float, stabilization: float = STABILIZATION_SECONDS) -> Hpa:
    """Return one that is to keep a share of each pod's slots in use, by figures that an adapter gathers every 15s."""
    return _bounded(service, Hpa(Metric.INFLIGHT, share * service.concurrency, stabilization=stabilization))


def keda(service: Service, *, share: float, stabilization: float = STABILIZATION_SECONDS) -> Hpa:
    """Return one that KEDA feeds from a Prometheus that scrapes every 30s, as kube-prometheus-stack has it."""
    target = share * service.concurrency
    return _bounded(service, Hpa(Metric.INFLIGHT, target, stabilization=stabilization, scrape=30.0))


def on_cpu(service: Service, *, share: float, stabilization: float = STABILIZATION_SECONDS) -> Hpa:
    """Return one that goes by the CPU, as metrics-server averages it."""
    return _bounded(service, Hpa(Metric.CPU, share, concurrency=service.concurrency, stabilization=stabilization))


def _bounded(service: Service, hpa: Hpa) -> Hpa:
    return replace(hpa, min_replicas=service.min_replicas, max_replicas=service.max_replicas)
