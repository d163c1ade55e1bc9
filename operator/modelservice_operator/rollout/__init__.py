"""Rollouts: the ledger of revisions, what is seen of their pods, and the pure decision about the next step.

revision   which fields shape a pod, and the hash that names a revision
ledger     ControllerRevisions read into entries
pods       pods and Deployments read into workloads, with the words of scheduler and kubelet
evaluated  Jobs that evaluate, read into scores
situation  the values that a decision is made from
decision   what a decision can be
plan       the decision, with
  proof      what a revision has to show: evaluation, readiness, pauses, live requests
  gates      bounds of an evaluation
  analysis   bounds of live requests
  pace       how many pods of each
  weights    shares of requests as pods
  room       what fits where something was
evidence   what the log of a container says about a failure
history    what became of revisions, as status tells it
"""
