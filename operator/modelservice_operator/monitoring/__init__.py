"""Whether what a service has for Prometheus and Alertmanager reaches them. No I/O.

collectors   which of the cluster's Prometheus and Alertmanager objects select what, and what ours lack
monitored    what follows for the service's status
"""
