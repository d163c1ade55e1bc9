"""`python -m model_server` is `model-server`."""

import sys

from model_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
