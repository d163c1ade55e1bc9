"""ModelService operator: one resource in, a served model with guaranteed quality out.

    api        the ModelService types, their defaults, the CRD made from them
    render     one module per child kind: pure functions from values to manifests
    rollout    the ledger of revisions and the plan that moves traffic along it
    engine     queue, store, apply, health: how keys become writes
    kube       the narrow port to the API server
    watch      the kopf edge, the only module that imports kopf
    reconcile  observe, plan, render, apply, report: the operator on one page
"""
