"""A throw-away Kubernetes for tests and demos, from pinned sources, without docker and without a registry.

`pins` says which programs, `binaries` and `build` get them, `components` says how each is started. The drivers put them
together: `controlplane` (an API server), `kwok` (one with nodes and pods that come up, and nothing in them), `node`
(real pods), `kind` (where docker runs), `given` (the user's own).
Standard library only: this package runs before any virtual environment exists.
"""
