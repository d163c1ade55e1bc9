"""The port to the Kubernetes API: verbs, errors and watches. It knows nothing about models.

resources    the kinds of objects, and their paths
errors       the exception tree: what is terminal, what passes by itself
credentials  who we are and where the server is, by the official client's loader
session      `Cluster`: the verbs, over one HTTP session
informer     LIST and WATCH of one kind, for as long as the process lives
backoff      how long to wait after the n-th failure
"""
