"""What the log of a container says about a failure: whose log, and its end, made fit for people. No I/O.

A log is untrusted text: who wrote it may have meant it for the terminal or the page that shows it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from modelservice_operator import names
from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.pods import failing_container
from modelservice_operator.rollout.situation import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelservice_operator.rollout.decision import Judge

Body = dict[str, Any]

KEPT_BYTES = 2048
_SHOWN_BY_A_LOG = {Reason.NEVER_READY, Reason.ERROR_RATE, Reason.LATENCY_REGRESSION}
_FOR_TERMINALS = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)


class Source(NamedTuple):
    """A log."""

    pod: str
    container: str
    previous: bool
    """Whether it is that of the container before it was started again."""


def source(line: Judge, pods: Iterable[Body]) -> Source | None:
    """Return the log that shows why a revision has failed; None: it has not, or a log says nothing about it."""
    if line.verdict is not Verdict.FAILED or line.reason not in _SHOWN_BY_A_LOG:
        return None
    own = [pod for pod in pods if pod["metadata"]["labels"].get(names.REVISION) == line.revision]
    found = [Source(pod["metadata"]["name"], *told) for pod in own if (told := failing_container(pod)) is not None]
    return min(found, key=lambda each: (not each.previous, each.pod), default=None)


def readable(log: bytes) -> str:
    """Return the text without what is not for people: sequences for terminals, control and invisible characters."""
    text = _FOR_TERMINALS.sub("", log.decode(errors="replace"))
    return "\n".join(map(_line, text.split("\n"))).strip("\n")


def end(text: str, longest_bytes: int) -> str:
    """Return the end of a text, from the beginning of a line where there is one."""
    encoded = text.encode()
    if len(encoded) <= longest_bytes:
        return text
    cut = encoded[-longest_bytes:].decode(errors="ignore")
    return cut.partition("\n")[2] or cut


def _line(line: str) -> str:
    """Of a line that was written over again and again, such as a progress bar, the last is what was seen."""
    seen = line.rstrip("\r").rpartition("\r")[2]
    return "".join(each for each in seen if each.isprintable() or each == "\t").rstrip()
