"""What a service promises, as Prometheus is told to watch it. No I/O.

burn         how fast which share of an error budget may go until somebody is told
indicators   which requests count, and which of them are bad, in PromQL
recordings   the series that alerts, dashboards and people read
alerts       the alerts of a service, each with what it says and where it leads
rules        all of a service, as the groups of a rule file
"""

from modelservice_operator.slo.alerts import ALERTS, Links
from modelservice_operator.slo.burn import dropped
from modelservice_operator.slo.rules import rule_groups

__all__ = ["ALERTS", "Links", "dropped", "rule_groups"]
