"""Whether what a service has for Prometheus and Alertmanager reaches them. No I/O.

collectors   which of the cluster's Prometheus and Alertmanager objects select what, and what ours lack
targets      where the pods of a service have their metrics
exposition   what a page of metrics tells
readings     what the pods of each revision have answered since a moment
budgets      what Prometheus says of error budgets, as status tells it
monitored    whether all that is taken up, as status tells it
"""
