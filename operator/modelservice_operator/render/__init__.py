"""Manifests of the children of a ModelService: pure functions, no I/O.

names            every name, label and annotation
pod              the pod template of a revision
overlay          the user's partial pod, laid over it
children         one builder for each kind of child that every cluster knows
service_monitor  a child that needs the Prometheus Operator's API
prometheus_rule  another one, for services with objectives
"""
