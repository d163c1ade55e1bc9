"""The exposition is Prometheus' text, read here by Prometheus' own Python parser."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from model_server.metrics import CODES, Histogram, Metrics, Now, Rejection, exposition

NOW = Now(ready=True, queue_requests=3, queue_oldest_seconds=0.25, info={"version": "0.1.0"})


def samples(metrics: Metrics, model: str = "m") -> dict[tuple[str, str], float]:
    found = {}
    for family in text_string_to_metric_families(exposition(metrics, NOW, model).decode()):
        assert family.documentation
        for sample in family.samples:
            assert sample.labels.pop("model") == model
            found[sample.name.removeprefix("model_server_"), ",".join(sample.labels.values())] = sample.value
    return found


def test_error_series_exist_before_the_first_error() -> None:
    found = samples(Metrics(64))
    assert all(found["requests_total", str(code)] == 0 for code in CODES)
    assert all(found["rejected_total", reason] == 0 for reason in Rejection)


def test_gauges_tell_the_moment_of_the_scrape() -> None:
    metrics = Metrics(64)
    metrics.inflight = 5
    metrics.load_seconds = 1.5
    found = samples(metrics)
    assert found["inflight_requests", ""] == 5
    assert found["queue_requests", ""] == 3
    assert found["queue_oldest_seconds", ""] == 0.25
    assert found["model_ready", ""] == 1
    assert found["model_load_seconds", ""] == 1.5
    assert found["info", "0.1.0"] == 1


def test_buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        histogram.observe(value)
    metrics = Metrics(2)
    metrics.batch_size = histogram
    found = samples(metrics)
    assert [found["batch_size_bucket", bound] for bound in ("1.0", "2.0", "+Inf")] == [2, 3, 4]
    assert (found["batch_size_sum", ""], found["batch_size_count", ""]) == (102.0, 4)


@pytest.mark.parametrize(
    ("most", "bounds"), [(1, [1]), (2, [1, 2]), (64, [1, 2, 4, 8, 16, 32, 64]), (65, [1, 2, 4, 8, 16, 32, 64, 128])]
)
def test_batch_sizes_are_counted_in_powers_of_two_up_to_the_largest(most: int, bounds: list[int]) -> None:
    assert list(Metrics(most).batch_size.bounds) == bounds


def test_a_label_may_hold_anything() -> None:
    assert ("info", "0.1.0") in samples(Metrics(1), 'quotes " and \\ and\nlines')
