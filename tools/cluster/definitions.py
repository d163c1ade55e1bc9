"""The CustomResourceDefinitions of optional APIs, from the sources of the tools that serve them; none is copied."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from cluster.errors import ClusterError, MissingError
from cluster.pins import DEFINITIONS, MODULES


def definition(plural: str, group: str) -> Path:
    """Return the manifest of the definition `<plural>.<group>`, in the version that we pin."""
    source, module, file = DEFINITIONS[group]
    if not shutil.which("go"):
        raise MissingError(f"The definition {plural}.{group} comes with a Go module: install Go 1.26 or newer.")
    found = subprocess.run(
        ["go", "mod", "download", "-json", module],  # checked against go.sum; without the network once it is there
        cwd=MODULES / source,
        env={"GOTOOLCHAIN": "local", **os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise ClusterError(
            f"Getting {module} for the definition {plural}.{group} failed:\n{found.stdout}{found.stderr}"
        )
    return Path(json.loads(found.stdout)["Dir"]) / file.format(plural=plural, singular=plural.removesuffix("s"))
