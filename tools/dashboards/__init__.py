"""The chart's Grafana dashboards, as Python: `make dashboards` writes them as the JSON that Grafana reads.

grafana      what Grafana calls dashboards, rows and panels
ask          the questions that more than one dashboard asks
service      one model
fleet        all models
operators    the operator itself
"""

from dashboards import fleet, operators, service
from dashboards.grafana import Dashboard

ALL: tuple[Dashboard, ...] = (service.DASHBOARD, fleet.DASHBOARD, operators.DASHBOARD)
