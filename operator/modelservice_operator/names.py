"""Every name, label and annotation that the operator writes, in one place."""

from __future__ import annotations

GROUP = "modelservice.dev"

# Labels of children and pods.
NAME = f"{GROUP}/name"
REVISION = f"{GROUP}/revision"
INSTALLATION = f"{GROUP}/installation"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "modelservice-operator"

# On a child: the Lease (namespace/name) of the installation that keeps it; the label above has that one's name.
LEASE = f"{GROUP}/lease"

# Annotations that people write on a ModelService: a time (restart, retry) or a revision's name (promote, rollback);
# or on an object to be taken over (adopt).
RESTART = f"{GROUP}/restart"
RETRY = f"{GROUP}/retry"
PROMOTE = f"{GROUP}/promote"
ROLLBACK = f"{GROUP}/rollback"
ADOPT = f"{GROUP}/adopt"

# Annotations of the ledger's entries.
VERDICT = f"{GROUP}/verdict"
REASON = f"{GROUP}/reason"
MESSAGE = f"{GROUP}/message"
MEASURED = f"{GROUP}/measured"
LOG = f"{GROUP}/log"
RETRIED = f"{GROUP}/retried"
STEP = f"{GROUP}/step"
STEP_TIME = f"{GROUP}/step-time"
MAKES_ROOM = f"{GROUP}/makes-room"
DECIDED_TIME = f"{GROUP}/decided-time"
PROMOTION = f"{GROUP}/promotion"

# On the pod of an evaluation, instead of the service's name, by which Services would find it.
EVALUATES = f"{GROUP}/evaluates"

# On the Job of an evaluation: what it is about, as it may be changed meanwhile.
EVALUATION = f"{GROUP}/evaluation"

# On a Deployment: how many pods the service promised when it was written. Its own number differs during a roll.
PROMISED = f"{GROUP}/promised-replicas"

# The pod's inner names, which overlays and people address.
SERVER = "server"
FETCH = "fetch"
HTTP_PORT = "http"
METRICS_PORT = "metrics"

# The component that the Service of the metrics is, which tells it from those that carry requests.
METRICS_COMPONENT = "metrics"

# A Service that must select nothing names this revision; no revision is ever called so.
NO_REVISION = "none"


def service_labels(name: str) -> dict[str, str]:
    """Labels shared by all children of the ModelService `name`, by which they are watched."""
    return {NAME: name, MANAGED_BY: MANAGER, "app.kubernetes.io/part-of": "modelservice"}


def evaluation(revision: str) -> str:
    """Name of the Job that evaluates a revision."""
    return f"{revision}-eval"


def metrics_service(name: str) -> str:
    """Name of the headless Service that is scraped, and of the ServiceMonitor that says so."""
    return f"{name}-metrics"


def rules(name: str) -> str:
    """Name of the PrometheusRule."""
    return f"{name}-slo"


def routes(name: str) -> str:
    """Name of the AlertmanagerConfig."""
    return f"{name}-alerts"


def lease(installation: str) -> str:
    """Name of the Lease that the operators of one installation compete for."""
    return f"{MANAGER}-{installation}"
