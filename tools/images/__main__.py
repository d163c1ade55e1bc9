"""`python3 tools/images build [operator|model-server]`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from images.cli import main

sys.exit(main())
