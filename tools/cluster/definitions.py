"""The CustomResourceDefinitions of optional APIs, from the sources of the tools that serve them; none is copied."""

from pathlib import Path

from cluster import build
from cluster.pins import DEFINITIONS, MODULES


def definition(plural: str, group: str) -> Path:
    """Return the manifest of the definition `<plural>.<group>`, in the version that we pin."""
    source, module, file = DEFINITIONS[group]
    return build.module(MODULES / source, module) / file.format(plural=plural, singular=plural.removesuffix("s"))
