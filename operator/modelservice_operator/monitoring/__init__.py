"""Whether what a service has for Prometheus and Alertmanager reaches them. No I/O.

`collectors` knows whom of the cluster's Prometheus and Alertmanager objects selects what.
"""
