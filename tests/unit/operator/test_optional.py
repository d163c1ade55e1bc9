from __future__ import annotations

from modelservice_operator.config import Monitoring
from modelservice_operator.monitoring.collectors import Collectors, facts
from modelservice_operator.observe import observe, read
from modelservice_operator.optional import OptionalChild, optional_children
from modelservice_operator.render.service_monitor import service_monitor
from unit.operator.makers import CONFIG, Body, children, live, parsed, service

NOBODY = Collectors("ml")
SILENT = {"name": "Custom", "image": "x"}


def monitor(why_not: str = "", *, is_wanted: bool = True, **spec: object) -> OptionalChild:
    """What is thought about the ServiceMonitor of a service."""
    config = CONFIG.model_copy(update={"monitoring": Monitoring(service_monitors=is_wanted)})
    [child] = optional_children(observe(read(service(**spec)), children(), config), config, NOBODY, lambda *_: why_not)
    return child


def test_a_service_that_has_metrics_wants_a_service_monitor() -> None:
    assert monitor().wanted == service_monitor("ml", "m", parsed(), {})
    assert monitor(runtime=SILENT).wanted is None
    assert monitor(is_wanted=False).wanted is None


def test_where_the_api_is_missing_it_is_wanted_all_the_same_but_not_possible() -> None:
    child = monitor("the cluster does not serve it")
    assert child.wanted is not None
    assert not child.possible
    assert monitor().possible


def test_what_is_there_is_known_so_that_it_can_be_removed() -> None:
    manifest = service_monitor("ml", "m", parsed(), {})
    assert manifest is not None
    there: Body = live(manifest)
    seen = observe(read(service(runtime=SILENT)), children(there), CONFIG)
    [child] = optional_children(seen, CONFIG, NOBODY, lambda *_: "")
    assert (child.wanted, child.live) == (None, {"m-metrics": there})


def test_it_gets_the_labels_that_the_administrator_gave_or_that_the_clusters_prometheus_wants() -> None:
    spec = {"serviceMonitorSelector": {"matchLabels": {"release": "stack"}}, "serviceMonitorNamespaceSelector": {}}
    prometheus = {"kind": "Prometheus", "metadata": {"namespace": "monitoring", "name": "k8s"}, "spec": spec}
    around = Collectors("ml", objects=(facts(prometheus),))
    seen = observe(read(service()), children(), CONFIG)
    for given, found in [({}, {"release": "stack"}), ({"team": "a"}, {"team": "a"})]:
        config = CONFIG.model_copy(update={"monitoring": Monitoring(labels=given)})
        [child] = optional_children(seen, config, around, lambda *_: "")
        assert child.wanted == service_monitor("ml", "m", parsed(), found)
