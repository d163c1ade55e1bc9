"""The documentation as a site: `make docs`. The pages are this repository's Markdown files, where they are.

The list under "Documentation" in README.md is the navigation, the table of alerts in docs/service-quality.md that of
the runbooks: a page that is in neither fails the build, as does a link or an anchor that leads nowhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "ModelService"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "examples/**.md"]
exclude_patterns = [".*", "build"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = "ModelService"
html_copy_source = False
html_show_copyright = False


def _with_navigation(_: Sphinx, name: str, source: list[str]) -> None:
    """Make a table of contents of each list under "Documentation", named by the heading above it."""
    if name == "docs/service-quality":  # its alerts, each with a runbook
        names = re.findall(r"^\| \[\w+\]\((runbooks/\w+)\.md\)", source[0], re.MULTILINE)
        source[0] += "\n".join(["\n```{toctree}", ":hidden:", "", *names, "```", ""])
    if name != root_doc:
        return
    listed = source[0].partition("\n## Documentation\n")[2].partition("\n## ")[0]
    for title, pages in re.findall(r"^### (.+)\n\n((?:.+\n)+)", listed, re.MULTILINE):
        names = re.findall(r"^- \[.+?\]\((.+?)\.md\)", pages, re.MULTILINE)
        source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {title}", "", *names, "```", ""])


def setup(app: Sphinx) -> None:
    """Hook the navigation into the reading of README.md."""
    app.connect("source-read", _with_navigation)
