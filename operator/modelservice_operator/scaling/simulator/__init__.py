"""Replays requests against a modelled service under an autoscaler: what it costs, and whom it serves in time.

traces       requests with their arrival times and their work: read from public traces, or generated
service      what is modelled of a service, and what a replay shows
replay       the replay, event by event
autoscalers  Builtin as shipped, a fixed number, a plan that is known beforehand
hpa          the algorithm of Kubernetes' HorizontalPodAutoscaler, also as KEDA uses it
kpa          the algorithm of Knative's autoscaler
oracle       the plan of who knows the future

Modelled: replicas with a number of slots and a bounded queue each, requests spread over ready replicas at random as a
Service spreads connections, loading times, a limit of accelerators, draining, requests that give up in the queue, and
for each autoscaler how often it looks and how old its figures are. Not modelled: that a full replica works slower or
batches better, retries and clients that keep connections, images that are pulled, nodes that are started, failures,
rollouts, and load on one replica that differs by what the requests are.
"""
