"""Draws what each setting of each policy attains and costs, a panel for each trace, as an SVG file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from contest import ATTAINED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from contest import Outcome, Setting

_WIDTH, _HEIGHT, _ACROSS = 360.0, 240.0, 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 14.0, 30.0, 30.0
_LEAST: Final = 0.88
"""What attains less is not drawn."""
_INK, _FAINT, _PALE = "#24292e", "#6a737d", "#e1e4e8"
_COLOURS: Final = {"HPA on in-flight": "#3274d9", "HPA on CPU": "#e0752d", "KEDA": "#a352cc", "KPA": "#37872d"}
_OURS, _ORACLE = "#e02f44", "#24292e"


def frontier(
    names: Sequence[str],
    peers: Mapping[Setting, Sequence[Outcome]],
    builtin: Sequence[Outcome],
    oracles: Sequence[Outcome],
) -> str:
    """Return the file's text."""
    lines = math.ceil(len(names) / _ACROSS)
    width, height = _ACROSS * _WIDTH, lines * _HEIGHT + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif">',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
    ]
    for at, name in enumerate(names):
        x, y = at % _ACROSS * _WIDTH, at // _ACROSS * _HEIGHT
        panel = {each: outcomes[at] for each, outcomes in peers.items()}
        parts += _panel(x, y, name, peers=panel, builtin=builtin[at], oracle=oracles[at])
    parts += _legend(lines * _HEIGHT + 22)
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    x: float, y: float, name: str, *, peers: Mapping[Setting, Outcome], builtin: Outcome, oracle: Outcome
) -> Iterator[str]:
    shown = {each: found for each, found in peers.items() if found.attainment >= _LEAST}
    most = 1.05 * max(found.replica_hours for found in (*shown.values(), builtin))

    def over(hours: float) -> float:
        return x + _LEFT + (_WIDTH - _LEFT - _RIGHT) * hours / most

    def up(share: float) -> float:
        return y + _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (max(share, _LEAST) - _LEAST) / (1 - _LEAST)

    yield _text(x + _LEFT, y + 18, name, size=12, weight="bold")
    for share in (0.9, 0.95, 1.0):
        dash = ' stroke-dasharray="4 3"' if share == ATTAINED else ""
        colour = _FAINT if share == ATTAINED else _PALE
        yield f'<path d="M{over(0):.1f} {up(share):.1f}H{over(most):.1f}" stroke="{colour}"{dash}/>'
        yield _text(x + _LEFT - 5, up(share) + 3, f"{share:.0%}", size=9, anchor="end", fill=_FAINT)
    for part in (0, 0.25, 0.5, 0.75, 1):
        label = f"{part * most:.3g}" + (" replica-hours" if part == 1 else "")
        yield _text(
            over(part * most), y + _HEIGHT - _BOTTOM + 14, label, size=9, anchor="end" if part else "start", fill=_FAINT
        )
    for setting, found in shown.items():
        at = f'cx="{over(found.replica_hours):.1f}" cy="{up(found.attainment):.1f}"'
        fill = _COLOURS[setting.policy] if setting.is_default else "none"
        title = escape(f"{setting.policy}, {setting.words}: {found.replica_hours:.1f} h, {found.attainment:.2%}")
        yield f'<circle {at} r="3" fill="{fill}" stroke="{_COLOURS[setting.policy]}"><title>{title}</title></circle>'
    for found, colour in ((oracle, _ORACLE), (builtin, _OURS)):
        yield _diamond(over(found.replica_hours), up(found.attainment), colour)


def _legend(y: float) -> Iterator[str]:
    x = _LEFT
    for name, colour in (("Builtin as shipped", _OURS), ("oracle", _ORACLE)):
        yield _diamond(x, y - 4, colour)
        yield _text(x + 9, y, name, size=11)
        x += 30 + 7 * len(name)
    for name, colour in _COLOURS.items():
        yield f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="3" fill="{colour}" stroke="{colour}"/>'
        yield _text(x + 9, y, name, size=11)
        x += 30 + 7 * len(name)
    yield _text(x, y, "filled: documented defaults; hollow: the grid", size=11, fill=_FAINT)


def _diamond(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" fill="{colour}" stroke="white"/>'


def _text(
    x: float, y: float, text: str, *, size: float, anchor: str = "start", weight: str = "normal", fill: str = _INK
) -> str:
    look = f'font-size="{size:g}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'
