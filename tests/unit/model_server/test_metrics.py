"""The exposition is Prometheus' text, read here by Prometheus' own Python parser."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from model_server.metrics import CODES, MAX_BUCKETS, Metrics, Now, Rejection, exposition, shared_rows

NOW = Now(
    ready=True,
    queue_oldest_seconds=0.25,
    born=1700000000.25,
    info={"version": "0.1.0"},
    load_seconds={"fetch": 3.0, "load": 1.5, "warm_up": 0.125},
)


def samples(metrics: Metrics, model: str = "m", now: Now = NOW) -> dict[tuple[str, str], float]:
    found = {}
    for family in text_string_to_metric_families(exposition(metrics, now, model).decode()):
        assert family.documentation
        for sample in family.samples:
            assert sample.labels.pop("model") == model
            found[sample.name.removeprefix("model_server_"), ",".join(sample.labels.values())] = sample.value
    return found


def test_error_series_exist_before_the_first_error() -> None:
    found = samples(Metrics(64))
    assert all(found["requests_total", str(code)] == 0 for code in CODES)
    assert all(found["rejected_total", reason] == 0 for reason in Rejection)


def test_explanations_have_series_only_where_there_are_any() -> None:
    metrics = Metrics(64)
    metrics.explain_requests[429].add()
    metrics.explain_inflight.add()
    assert ("explain_requests_total", "429") not in samples(metrics)
    found = samples(metrics, now=replace(NOW, explains=True))
    assert (found["explain_requests_total", "429"], found["explain_requests_total", "504"]) == (1, 0)
    assert (found["explain_inflight_requests", ""], found["explain_duration_seconds_count", ""]) == (1, 0)
    metrics.bury()
    found = samples(metrics, now=replace(NOW, explains=True))
    assert (found["explain_requests_total", "500"], found["explain_inflight_requests", ""]) == (1, 0)


def test_secrets_have_series_only_where_there_are_any() -> None:
    found = samples(Metrics(64))
    assert not [name for name, _ in found if name.startswith(("secret_", "certificate_"))]
    found = samples(
        Metrics(64), now=replace(NOW, renewals={"tokens": True, "tls": False}, certificate_expires=1800000000.0)
    )
    successful = "secret_last_reload_successful"
    assert (found[successful, "tokens"], found[successful, "tls"]) == (1, 0)
    assert found["certificate_expiration_timestamp_seconds", ""] == 1800000000


def test_gauges_tell_the_moment_of_the_scrape() -> None:
    metrics = Metrics(64)
    metrics.inflight.add(7)
    metrics.inflight.add(-2)
    metrics.queue_requests.value = 3
    found = samples(metrics)
    assert found["inflight_requests", ""] == 5
    assert found["queue_requests", ""] == 3
    assert found["queue_oldest_seconds", ""] == 0.25
    assert found["model_ready", ""] == 1
    assert [found["model_load_seconds", phase] for phase in ("fetch", "load", "warm_up")] == [3, 1.5, 0.125]
    assert found["start_time_seconds", ""] == 1700000000.25
    assert found["info", "0.1.0"] == 1


def test_buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics(2)
    for value in (0.5, 1.0, 1.5, 99.0):
        metrics.batch_size.observe(value)
    found = samples(metrics)
    assert [found["batch_size_bucket", bound] for bound in ("1.0", "2.0", "+Inf")] == [2, 3, 4]
    assert (found["batch_size_sum", ""], found["batch_size_count", ""]) == (102.0, 4)


def test_the_operator_gives_the_bounds_of_durations() -> None:
    metrics = Metrics(1, (0.05, 0.25))
    for histogram in (metrics.request_seconds, metrics.queue_seconds, metrics.compute_seconds):
        histogram.observe(0.2)
    found = samples(metrics)
    for name in ("request", "queue", "compute"):
        buckets = {bound: n for (sample, bound), n in found.items() if sample == f"{name}_duration_seconds_bucket"}
        assert buckets == {"0.05": 0, "0.25": 1, "+Inf": 1}


@pytest.mark.parametrize(
    ("most", "bounds"), [(1, [1]), (2, [1, 2]), (64, [1, 2, 4, 8, 16, 32, 64]), (65, [1, 2, 4, 8, 16, 32, 64, 128])]
)
def test_batch_sizes_are_counted_in_powers_of_two_up_to_the_largest(most: int, bounds: list[int]) -> None:
    assert list(Metrics(most).batch_size.bounds) == bounds


def test_a_label_may_hold_anything() -> None:
    assert ("info", "0.1.0") in samples(Metrics(1), 'quotes " and \\ and\nlines')


def test_what_processes_count_is_added_up() -> None:
    one, two = (Metrics(4, row=row) for row in shared_rows(2))
    one.requests[200].add(2)
    two.requests[200].add(3)
    two.requests[500].add()
    one.request_seconds.observe(0.25)
    two.request_seconds.observe(0.5)
    two.inflight.add()
    found = samples(Metrics.summed([one, two]))
    assert (found["requests_total", "200"], found["requests_total", "500"]) == (5, 1)
    assert (found["request_duration_seconds_count", ""], found["request_duration_seconds_sum", ""]) == (2, 0.75)
    assert found["inflight_requests", ""] == 1
    assert one.requests[200].value == 2, "adding up changes nothing"


def test_a_process_that_died_failed_what_it_had_in_hand() -> None:
    metrics = Metrics(4)
    metrics.requests[200].add(5)
    metrics.inflight.value = 3
    metrics.queue_requests.value = 2
    metrics.queue_since.value = 1.0
    metrics.ready.value = 1
    metrics.bury()
    found = samples(metrics)
    assert (found["requests_total", "200"], found["requests_total", "500"]) == (5, 3)
    assert (found["inflight_requests", ""], found["queue_requests", ""], found["workers_ready", ""]) == (0, 0, 0)
    assert metrics.oldest_seconds(9.0) == 0


def test_a_forked_process_counts_for_its_parent_too() -> None:
    metrics = Metrics(4)
    if (pid := os.fork()) == 0:
        metrics.requests[200].add()
        os._exit(0)
    os.waitpid(pid, 0)
    assert metrics.requests[200].value == 1


def test_the_largest_histograms_fit_into_a_row() -> None:
    metrics = Metrics(2**40, [float(bound) for bound in range(1, MAX_BUCKETS + 1)])
    metrics.queue_since.value = 1.0  # the last cell
    assert metrics.oldest_seconds(3.0) == 2.0
