"""Rollouts: the ledger of revisions, what is seen of their pods, and the pure decision about the next step.

revision   which fields shape a pod, and the hash that names a revision
ledger     ControllerRevisions read into entries
pods       pods and Deployments read into workloads, with the words of scheduler and kubelet
situation  the values that a decision is made from
plan       the decision
"""
