"""The plugin as one file, for machines that have Python and kubectl and nothing of ours."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_MAIN = """\
import sys
if sys.version_info < (3, 11):
    sys.exit("kubectl modelservice needs Python 3.11 or later; python3 on the PATH is %d.%d." % sys.version_info[:2])
from modelservice_operator.plugin import cli, completion
sys.exit((completion if "kubectl_complete" in sys.argv[0] else cli).main())
"""


def archive() -> bytes:
    """Return a program that Python runs as it is (a zip file after a line that names the interpreter)."""
    written = io.BytesIO(b"#!/usr/bin/env python3\n")
    written.seek(0, io.SEEK_END)
    sources = (_PACKAGE / "__init__.py", _PACKAGE / "names.py", *sorted((_PACKAGE / "plugin").glob("*.py")))
    files: dict[str, str | bytes] = {
        source.relative_to(_PACKAGE.parent).as_posix(): source.read_bytes() for source in sources
    }
    with zipfile.ZipFile(written, "a") as file:
        for name, content in {"__main__.py": _MAIN, **files}.items():
            file.writestr(
                zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED
            )  # of no time: the same for the same source
    return written.getvalue()
