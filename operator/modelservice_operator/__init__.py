"""ModelService operator: one resource in, a served model with guaranteed quality out.

reconcile  observe, plan, render, apply, report: the operator on one page
api        the ModelService types, their defaults, the CRD made from them
observe    what is seen of one ModelService, as values
rollout    the ledger of revisions and the plan that moves traffic along it
render     manifests of the children: pure functions from values
report     the status, computed from what is seen
names      every name, label and annotation
config     the administrator's configuration
engine     queue, store, apply, health: how keys become writes
kube       the narrow port to the API server
watch      the kopf edge, the only module that imports kopf
plugin     kubectl modelservice: what people do by hand
"""
