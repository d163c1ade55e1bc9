"""The ModelService API: types in, CRD and manual out. No I/O.

types      the spec: fields, descriptions, defaults, bounds, rules
status     the status
rules      a rule is written once, for the API server (CEL) and for the operator
quantity   500m, 4Gi: compared by value
text       values that are written as text
duration   250ms, 1h30m: compared by length
percentage 99.9%: exact
parse      object -> ModelServiceSpec, or InvalidSpec in sentences
unwritten  which fields hold no wish but a default of a newer CRD
canonical  ModelServiceSpec -> the object that a revision's hash is made of
reasons    every condition and reason, with what it means and what to do
crd        the CustomResourceDefinition, generated from types and status
reference  docs/api.md, generated from the CRD
troubleshooting  docs/troubleshooting.md, generated from reasons
"""

from modelservice_operator.api._canonical import canonical
from modelservice_operator.api._parse import InvalidSpec, parse
from modelservice_operator.api._unwritten import without_unwritten
from modelservice_operator.api.types import API_VERSION, GROUP, KIND, PLURAL, VERSION, ModelServiceSpec

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "PLURAL",
    "VERSION",
    "InvalidSpec",
    "ModelServiceSpec",
    "canonical",
    "parse",
    "without_unwritten",
]
