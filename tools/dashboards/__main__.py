"""`python tools/dashboards`: writes the dashboards into the chart; `make dashboards` sees to the environment first."""

import sys
from pathlib import Path

# Python puts this folder on the path; the package is one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from dashboards import ALL  # noqa: E402

FOLDER = Path(__file__).resolve().parents[2] / "charts/modelservice-operator/files/dashboards"

for each in ALL:
    (FOLDER / f"{each.uid}.json").write_text(each.text())
