"""Which fields of the spec shape a pod, and the name that a revision gets from them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from modelservice_operator.api import ModelServiceSpec, canonical

# Every field of the spec stands in exactly one of the three; a test compares them with the types.
POD_SHAPING = frozenset(
    {"model", "precision", "serving", "explain", "accelerator", "resources", "startupTimeout", "podTemplate"}
)
LIVE = frozenset({"service", "replicas", "autoscaling", "evaluation", "rollout", "monitoring"})
# Pod-shaping but for runtime.metrics and security.networkPolicy; live but for the thresholds of slo, up to which the
# server counts exactly.
MIXED = frozenset({"runtime", "security", "slo"})

# Without vowels and look-alikes, as Kubernetes' own generated names: no words, no confusion of 0 and o, 1 and l.
_ALPHABET = "bcdfghjkmnpqrstvwxz2456789"
_LENGTH = 10


def shape(spec: ModelServiceSpec, restart: str) -> dict[str, Any]:
    """Return the pod-shaping part of a spec in canonical form: equal shapes run equal pods.

    Values equal to defaults are dropped, so that neither a default that is written out nor a new field of a later
    version makes a revision. `restart` is the token of the restart annotation, which makes one on purpose.
    """
    given = canonical(spec)
    shaping = {field: value for field, value in given.items() if field in POD_SHAPING}
    runtime = {field: value for field, value in given.get("runtime", {}).items() if field != "metrics"}
    security = {field: value for field, value in given.get("security", {}).items() if field != "networkPolicy"}
    thresholds = [str(threshold) for threshold in spec.thresholds]
    mixed = {"runtime": runtime, "security": security, "thresholds": thresholds, "restart": restart}
    return shaping | {field: value for field, value in mixed.items() if value}


def revision_name(service: str, shaping: dict[str, Any]) -> str:
    """Return `<service>-<hash>`; the hash is over the canonical JSON of the shape."""
    digest = hashlib.sha256(json.dumps(shaping, sort_keys=True, separators=(",", ":")).encode()).digest()
    number = int.from_bytes(digest, "big")
    letters = []
    for _ in range(_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return f"{service}-{''.join(letters)}"
