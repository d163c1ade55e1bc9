"""All models: which of them need somebody, what they answer, what is left of what they promise."""

from dashboards.ask import failed_share, latency_buckets, quantile, requests
from dashboards.grafana import Column, Dashboard, Query, Row, Variable, lines, stat, table

SEEN = 'namespace=~"$namespace"'
OWN = f'{SEEN}, modelservice!=""'
BY = ("namespace", "modelservice")

UNKNOWN = "The operator's metrics are not scraped."
UNPROMISED = "No model promises anything (spec.slo)."
NO_PRICES = "No class of accelerator has a price."
_ONE = "{{namespace}}/{{modelservice}}"
_LOOK = (
    "/d/modelservice?var-datasource=${datasource}&var-namespace=${__data.fields.namespace}"
    "&var-name=${__data.fields.name}&${__url_time_range}"
)


def _each(gauge: str, *matchers: str) -> str:
    """Return a gauge of the operator for each model, whoever leads."""
    return f"max by (namespace, name) ({gauge}{{{', '.join((SEEN, *matchers))}}})"


def _named(query: str) -> str:
    """Return a question to the models' servers with the operator's word for their names."""
    return f'sum by (namespace, name) (label_replace({query}, "name", "$1", "modelservice", "(.+)"))'


def _condition(name: str) -> str:
    return _each("modelservice_condition", f'condition="{name}"')


_NOW = Row(
    "",
    (
        stat(
            "Models",
            "ModelServices that the operator looks after.",
            "short",
            Query(f"count({_each('modelservice_replicas_wanted')})"),
            width=3,
            nothing=UNKNOWN,
        ),
        stat(
            "Not available",
            "Models that promise pods, and of which none is ready: they answer nobody.",
            "short",
            Query(
                f"count({_condition('Available')} == 0 and {_each('modelservice_replicas_wanted')} > 0) or vector(0)",
            ),
            width=3,
            steps=(("green", 0), ("red", 1)),
        ),
        stat(
            "Stalled",
            "Models that cannot go on until somebody acts: condition Stalled says what to do.",
            "short",
            Query(f"sum({_condition('Stalled')}) or vector(0)"),
            width=3,
            steps=(("green", 0), ("orange", 1)),
        ),
        stat(
            "Alerts",
            "Alerts about models that fire now.",
            "short",
            Query(f'count(ALERTS{{{OWN}, alertstate="firing"}}) or vector(0)'),
            width=3,
            steps=(("green", 0), ("red", 1)),
        ),
        stat(
            "Pods",
            "Pods that are ready, of those that are promised.",
            "percentunit",
            Query(f"sum({_each('modelservice_replicas_ready')}) / sum({_each('modelservice_replicas_wanted')})"),
            width=3,
            nothing=UNKNOWN,
        ),
        stat(
            "Requests",
            "Requests a second to all models whose servers tell.",
            "reqps",
            Query(f"sum({requests(OWN, *BY)})"),
            width=3,
            nothing="Nobody tells of requests.",
        ),
        stat(
            "Budget left",
            "What is left of the error budget that has least.",
            "percentunit",
            Query(f"min(slo:period_error_budget_remaining:ratio{{{OWN}}})"),
            width=3,
            steps=(("red", 0), ("orange", 0.1), ("green", 0.5)),
            nothing=UNPROMISED,
        ),
        stat(
            "Price per hour",
            "What the accelerators of all pods cost in an hour, in the administrator's currency.",
            "short",
            Query(f"sum({_each('modelservice_price_per_hour')})"),
            width=3,
            nothing=NO_PRICES,
        ),
    ),
)

_MODELS = Row(
    "Models",
    (
        table(
            "All models",
            "Each model, and why it is ready or not. Its name leads to its own dashboard.",
            Column("Namespace", label="namespace"),
            Column("Model", label="name", link=_LOOK),
            Column("", f"max by (namespace, name, reason) (modelservice_ready_reason{{{SEEN}}})"),
            Column("State", label="reason"),
            Column("Pods promised", _each("modelservice_replicas_wanted")),
            Column("Pods ready", _each("modelservice_replicas_ready")),
            Column("Requests", _named(requests(OWN, *BY)), unit="reqps"),
            Column(
                "Failed",
                _named(failed_share(OWN, *BY)),
                unit="percentunit",
                steps=(("green", 0), ("orange", 0.001), ("red", 0.01)),
            ),
            Column(
                "Budget left",
                _named(f"min by (namespace, modelservice) (slo:period_error_budget_remaining:ratio{{{OWN}}})"),
                unit="percentunit",
                steps=(("red", 0), ("orange", 0.1), ("green", 0.5)),
            ),
            Column(
                "Burn rate",
                _named(f"max by (namespace, modelservice) (slo:current_burn_rate:ratio{{{OWN}}})"),
                steps=(("green", 0), ("orange", 1), ("red", 14)),
            ),
            nothing=UNKNOWN,
        ),
    ),
)

_HEALTH = Row(
    "Health",
    (
        lines(
            "Why models are ready or not",
            "How many models have which reason of condition Ready.",
            "short",
            Query(
                f"count by (reason) (max by (namespace, name, reason) (modelservice_ready_reason{{{SEEN}}}))",
                "{{reason}}",
            ),
            stacked=True,
            stepped=True,
            nothing=UNKNOWN,
        ),
        lines(
            "Rollouts",
            "How many models are in which phase. Settled: the latest spec is in force.",
            "short",
            Query(
                f"count by (phase) (max by (namespace, name, phase) (modelservice_rollout_phase{{{SEEN}}}))",
                "{{phase}}",
            ),
            stacked=True,
            stepped=True,
            nothing=UNKNOWN,
        ),
        lines(
            "Pods",
            "Pods of all models: those that are promised, and those that carry traffic and are ready.",
            "short",
            Query(f"sum({_each('modelservice_replicas_wanted')})", "promised"),
            Query(f"sum({_each('modelservice_replicas_ready')})", "ready"),
            stepped=True,
            nothing=UNKNOWN,
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic: the ten models with most",
    (
        lines(
            "Requests by model",
            "Requests a second.",
            "reqps",
            Query(f"topk(10, {requests(OWN, *BY)})", _ONE),
            nothing="Nobody tells of requests.",
        ),
        lines(
            "Failed by model",
            "The share of requests that failed their users (5xx, 429).",
            "percentunit",
            Query(f"topk(10, {failed_share(OWN, *BY)})", _ONE),
            nothing="No requests.",
        ),
        lines(
            "Slowest answers by model",
            "How long 99 % of the answers took at most.",
            "s",
            Query(f"topk(10, {quantile(0.99, latency_buckets(OWN, *BY))})", _ONE),
            nothing="No requests.",
        ),
    ),
)

_PROMISES = Row(
    "Promises, and what models cost: the ten that are worst",
    (
        lines(
            "Error budgets",
            "What is left of the error budgets that have least. Below 0 a promise is broken.",
            "percentunit",
            Query(
                "bottomk(10, min by (namespace, modelservice, slo) "
                f"(slo:period_error_budget_remaining:ratio{{{OWN}}}))",
                f"{_ONE} {{{{slo}}}}",
            ),
            most=1,
            least=None,
            nothing=UNPROMISED,
        ),
        lines(
            "Burn rates",
            "How many times as fast as allowed budgets go, over five minutes. At 1 one lasts as long as its window.",
            "short",
            Query(
                f"topk(10, max by (namespace, modelservice, slo) (slo:current_burn_rate:ratio{{{OWN}}}))",
                f"{_ONE} {{{{slo}}}}",
            ),
            nothing=UNPROMISED,
        ),
        lines(
            "Price per hour by model",
            "What the accelerators of a model's pods cost in an hour, those on their way out, too.",
            "short",
            Query(f"topk(10, {_each('modelservice_price_per_hour')})", "{{namespace}}/{{name}}"),
            stacked=True,
            nothing=NO_PRICES,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="modelservice-fleet",
    title="ModelService / All models",
    description="All models: which of them need somebody, what they answer, what is left of what they promise.",
    variables=(Variable("namespace", "Namespace", "modelservice_replicas_wanted", "namespace", many=True),),
    rows=(_NOW, _MODELS, _HEALTH, _TRAFFIC, _PROMISES),
)
