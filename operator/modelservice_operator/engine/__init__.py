"""How keys become writes. It speaks to the cluster through `kube`, and knows neither kopf nor models.

operator     starts and stops everything in order; one dead part ends the process
queue        which key next: de-duplicated, one worker per key, priorities, delays
leader       which of several operators works
neighbours   which other installations live
store        what is known of the cluster, by key
apis         which optional APIs there are, and the informers of their kinds
apply        the only writer of what matters
scrape       reads pages of metrics from pods
recorder     the writer of Events, which do not
containment  whether a live object holds what a manifest says
health       /healthz, /readyz, /metrics
log          one line per event, with the key it is about
"""
