"""What is read of a page of metrics, as the servers themselves write it; and what becomes of pages that are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder

from model_server.metrics import Metrics as Counters
from model_server.metrics import Now, exposition
from modelservice_operator.engine.scrape import ACCEPT
from modelservice_operator.monitoring.exposition import ExpositionError, Snapshot, snapshot
from modelservice_operator.slo.metrics import TORCH, VLLM, Metrics
from vllm_metrics import Vllm


def torch_page(**codes: int) -> bytes:
    counters = Counters(8, (0.1, 0.25))
    for code, count in codes.items():
        counters.requests[int(code.removeprefix("of_"))].add(count)
    for seconds in (0.05, 0.2, 0.2, 9.0):
        counters.request_seconds.observe(seconds)
        counters.queue_seconds.observe(7.0)
    counters.inflight.value, counters.queue_requests.value = 5, 3
    return exposition(counters, Now(ready=True, queue_oldest_seconds=0, born=1.7e9, info={"version": "1"}), "m")


def test_our_own_server_tells_everything() -> None:
    assert snapshot(torch_page(of_200=7, of_400=2, of_429=1, of_499=1, of_500=1, of_503=2), TORCH) == Snapshot(
        requests=14, errors=4, latency={0.1: 1, 0.25: 3, math.inf: 4}, inflight=5, waiting=3, born=1.7e9
    )


def test_our_own_server_has_a_series_for_every_part_before_the_first_request() -> None:
    assert snapshot(torch_page(), TORCH).errors == 0
    assert None not in {getattr(snapshot(torch_page(), TORCH), part) for part in ("inflight", "waiting", "born")}


@pytest.mark.parametrize("accept", [ACCEPT, "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"])
def test_vllm_is_read_as_asked_for_and_in_the_newer_format(accept: str) -> None:
    server = Vllm()
    server.running.set(6)
    server.waiting.set(2)
    for status, seconds in (("2xx", 0.4), ("2xx", 0.6), ("5xx", 1e6)):
        server.answers(status)
        server.latency.observe(seconds, exemplar={"trace": "a} 1"})
    server.answers("5xx", method="GET")  # nobody's request for an answer
    server.answers("5xx", handler="/health")
    write, _ = choose_encoder(accept)
    found = snapshot(write(server.registry), VLLM)
    assert (found.requests, found.errors, found.inflight, found.waiting, found.born) == (3, 1, 8, 2, None)
    assert [found.latency[bound] for bound in (0.3, 0.5, 0.8, 7680, math.inf)] == [0, 1, 2, 2, 3]


def test_a_server_without_requests_yet_has_answered_none() -> None:
    assert snapshot(generate_latest(Vllm().registry), VLLM).requests == 0
    assert snapshot(b"# TYPE rpc_total counter\n", Metrics(requests="rpc_total", errors="failed_total")).errors == 0


def test_of_a_server_that_only_times_its_answers_those_count() -> None:
    page = b'seconds_bucket{le="1"} 3\nseconds_bucket{le="+Inf"} 4\nseconds_count 4\n'
    assert snapshot(page, Metrics(latency="seconds")) == Snapshot(4, latency={1: 3, math.inf: 4})
    assert snapshot(b"# TYPE seconds histogram\n", Metrics(latency="seconds")) == Snapshot(0)


PAGE = b"""
rpc_total{outcome="ok",path="/a"} 1
rpc_total{outcome="failed",path="/a"} 10
rpc_total{outcome="failed",path="/b\\n"} 100
rpc_total{path="/c"} 1000
rpc_totals{outcome="failed"} 10000
"""


@pytest.mark.parametrize(
    ("matchers", "found"),
    [
        ("", 1111),
        ('{outcome="failed"}', 110),
        ('{outcome!="failed"}', 1001),
        ('{outcome=~"fail"}', 0),
        ('{outcome=~"fail.*|ok"}', 111),
        ('{outcome!~".+"}', 1000),
        ('{outcome=""}', 1000),
        ('{outcome="fail.*"}', 0),
        ('{path=~"/b."}', 100),
        ('{outcome="failed",path="/a",}', 10),
        ('{nothing=""}', 1111),
        ('{nothing=~".+"}', 0),
    ],
)
def test_matchers_mean_what_they_mean_in_a_query(matchers: str, found: int) -> None:
    metrics = Metrics(requests="rpc_total", errors=f"rpc_total{matchers}")
    assert snapshot(PAGE, metrics).errors == found


def test_no_text_makes_a_regular_expression_slow() -> None:
    metrics = Metrics(requests="rpc_total", errors='rpc_total{x=~"(a|a)*(a+)+b"}')
    assert snapshot(b'rpc_total{x="%s"} 1' % (b"a" * 4000), metrics).errors == 0


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"", "it has no metric rpc_total"),
        (b"<html>rpc_total</html>", "it has no metric rpc_total"),
        (b"rpc_total_more 1", "it has no metric rpc_total"),
        (b"rpc_total 1\n\xff", "it is no text in UTF-8: "),
        (b"rpc_total", "this line is no sample: rpc_total"),
        (b"rpc_total{", "this line is no sample: rpc_total{"),
        (b'rpc_total{a="b} 1', 'this line is no sample: rpc_total{a="b} 1'),
        (b"rpc_total one", "this line is no sample: rpc_total one"),
        (b"rpc_total -1", "no count has such a value: rpc_total -1"),
        (b"rpc_total NaN", "no count has such a value: rpc_total NaN"),
        (b"rpc_total +Inf", "no count has such a value: rpc_total +Inf"),
        (b"rpc_total 1%s" % (b"0" * 4000), "no count has such a value: rpc_total 1000"),
        (b"rpc_total,x{} 1", "this line is no sample: rpc_total,x{} 1"),
        (b'rpc_total{a="%s"} 1' % (b"a" * 4096), "a line has 4113 characters where at most 4096 are read: rpc_total"),
        (b"rpc_total 1\n" * 5001, "it has 5001 samples where at most 5000 are read"),
        (b"rpc_total 1\nseconds_bucket 1", "a bucket of seconds has no bound"),
        (b'rpc_total 1\nseconds_bucket{le="low"} 1', "a bucket of seconds has no bound"),
    ],
)
def test_what_is_no_page_of_metrics_is_told_in_a_sentence(page: bytes, words: str) -> None:
    with pytest.raises(ExpositionError) as caught:
        snapshot(page, Metrics(requests="rpc_total", latency="seconds"))
    assert str(caught.value).startswith(words)
    assert len(str(caught.value)) < 200


def test_a_regular_expression_that_is_none_is_told_in_a_sentence() -> None:
    with pytest.raises(ExpositionError, match="has no regular expression: missing"):
        snapshot(b"rpc_total 1", Metrics(requests='rpc_total{a=~"("}'))


LINES = st.one_of(
    st.binary(max_size=60),
    st.tuples(
        st.sampled_from([b"rpc_total", b"seconds_bucket", b"# TYPE rpc_total", b"# HELP seconds"]),
        st.text(st.sampled_from('{}"\\=,# le1.5+-eInfNaN\t\r_\0é'), max_size=40).map(str.encode),
    ).map(b"".join),
)


@given(st.lists(LINES, max_size=8).map(b"\n".join))
def test_no_page_does_more_than_to_be_refused(page: bytes) -> None:
    try:
        found = snapshot(page, Metrics(requests='rpc_total{a!="b"}', latency='seconds{c=~"d.*"}'))
    except ExpositionError as error:
        assert str(error)  # noqa: PT017 (either may happen)
    else:
        assert 0 <= found.requests < math.inf
        assert all(0 <= count < math.inf for count in found.latency.values())
