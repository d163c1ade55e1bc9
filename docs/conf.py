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
    """Make tables of contents of the lists, named by the heading above and the words of the links."""
    if name == root_doc:
        listed = source[0].partition("\n## Documentation\n")[2].partition("\n## ")[0]
        for title, pages in re.findall(r"^### (.+)\n\n((?:.+\n)+)", listed, re.MULTILINE):
            source[0] += _contents(re.findall(r"^- \[(.+?)\]\((.+?)\.md\)", pages, re.MULTILINE), f":caption: {title}")
    elif name == "docs/service-quality":
        source[0] += _contents(re.findall(r"^\| \[(\w+)\]\((runbooks/\w+)\.md\)", source[0], re.MULTILINE))


def _contents(links: list[tuple[str, str]], *options: str) -> str:
    entries = [f"{title} <{page}>" for title, page in links]
    return "\n".join(["\n```{toctree}", ":hidden:", *options, "", *entries, "```", ""])


def setup(app: Sphinx) -> None:
    """Hook the navigation into the reading of README.md."""
    app.connect("source-read", _with_navigation)
