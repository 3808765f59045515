"""Pictures as SVG text. Pure functions of plain data; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 96, 14, 34


def curves(series: Sequence[Mapping[str, Any]], key: str, y_title: str, x_title: str = "share of the run") -> str:
    """Lines of `series[i][key]`, labelled at their right end; the kept one is thick. Logarithmic where values span a
    decade."""
    lines = [(s["name"], s["kept"], s[key]) for s in series if s.get(key)]
    values = [y for _, _, points in lines for _, y in points]
    if not values:
        return ""
    low, high = min(values), max(values)
    log = low > 0 and high / low > 10
    scale = _scale(low, high, log)
    x_of = lambda x: LEFT + x * (WIDTH - LEFT - RIGHT)  # noqa: E731
    parts = [_axes(scale, y_title, x_title, x_of)]
    ends = _spread([scale.place(points[-1][1]) for _, _, points in lines])
    for i, ((name, kept, points), end) in enumerate(zip(lines, ends, strict=True)):
        path = " ".join(f"{x_of(x):.1f},{scale.place(y):.1f}" for x, y in points)
        style = f'class="line c{i % 6}{" kept" if kept else ""}"'
        parts.append(f'<polyline {style} points="{path}"/>')
        parts += [
            f'<circle class="dot c{i % 6}" cx="{x_of(x):.1f}" cy="{scale.place(y):.1f}" r="2.6"/>'
            for x, y in points
            if len(points) < 30
        ]
        parts.append(
            f'<text class="label c{i % 6}" x="{x_of(points[-1][0]) + 7:.1f}"'
            f' y="{end + 4:.1f}">{escape(name)}{" ✓" if kept else ""}</text>'
        )
    return _svg(WIDTH, HEIGHT, "".join(parts), y_title)


def memory(parts: Mapping[str, int], capacity: int | None) -> str:
    """Terms of a forecast, bytes, as one stacked bar against the device, with their names below."""
    gib, width, bar = 2**30, 720, 26
    whole = max(sum(parts.values()), capacity or 0)
    out, x = [f'<rect class="rail" x="0" y="8" width="{width}" height="{bar}"/>'], 0.0
    for i, (name, size) in enumerate(parts.items()):
        wide = size / whole * width
        out.append(
            f'<rect class="fill c{i % 6}" x="{x:.1f}" y="8" width="{wide:.1f}"'
            f' height="{bar}"><title>{escape(name)}</title></rect>'
        )
        x += wide
    if capacity:
        end = capacity / whole * width - 1
        out.append(f'<line class="bound" x1="{end:.1f}" x2="{end:.1f}" y1="2" y2="{bar + 14}"/>')
    for i, (name, size) in enumerate(parts.items()):
        left, top = (i % 4) * 180, bar + 34 + (i // 4) * 20
        out.append(f'<rect class="fill c{i % 6}" x="{left}" y="{top - 10}" width="10" height="10"/>')
        out.append(f'<text x="{left + 16}" y="{top}">{escape(name)} {size / gib:.2f} GiB</text>')
    return _svg(width, bar + 44 + 20 * ((len(parts) - 1) // 4), "".join(out), "memory")


WIDE, LEFT_OF, RIGHT_OF, EACH = 980, 380, 200, 40  # of the picture of limits: names, rail, states; a row's height
_SIGNS = {"PASS": "✓", "FAIL": "✗", "UNDECIDED": "?", "NOT MEASURED": "–"}


def limits(rows: Sequence[Mapping[str, Any]]) -> str:
    """Each limited number as a bar with its interval against its limit; of what was not measured, why, and no bar."""
    limited = [r for r in rows if r["verdict"]]
    if not limited:
        return ""
    parts = []
    for i, r in enumerate(limited):
        y = i * EACH + 26
        title = escape(str(r["title"]).split(",")[0])
        parts.append(f'<text class="name" x="{LEFT_OF - 12}" y="{y + 4}" text-anchor="end">{title}</text>')
        parts += _against_limit(r, y) if r["value"] is not None else _not_measured(r, y)
        soft = "" if r["hard"] else " (soft)"
        parts.append(
            f'<text class="state {r["verdict"]}" x="{WIDE - RIGHT_OF + 14}" y="{y + 4}">{_SIGNS[str(r["verdict"])]}'
            f" {r['verdict']}{soft}</text>"
        )
    return _svg(WIDE, len(limited) * EACH + 24, "".join(parts), "The card against the budget")


def _not_measured(r: Mapping[str, Any], y: float) -> list[str]:
    why = str(r.get("to_decide") or r.get("missing") or "not asked")
    shown = why if len(why) <= 74 else why[:73].rsplit(" ", 1)[0] + " …"
    return [f'<text class="tick" x="{LEFT_OF}" y="{y + 4}">{escape(shown)}</text>']


def _against_limit(r: Mapping[str, Any], y: float) -> list[str]:
    """The rail, what of it is inside, the interval and the value."""
    place, span = _limit_scale(r), WIDE - LEFT_OF - RIGHT_OF

    def at(value: float | None, missing: float) -> float:
        return LEFT_OF + place(value, missing) * span

    low, high = at(r["limit"]["min"], 0.0), at(r["limit"]["max"], 1.0)
    a, b, v = at(r["below"], 0.0), at(r["above"], 1.0), at(r["value"], 0.0)
    parts = [
        f'<rect class="rail" x="{LEFT_OF}" y="{y - 7}" width="{span}" height="14" rx="7"/>',
        f'<rect class="inside" x="{low:.1f}" y="{y - 7}" width="{high - low:.1f}" height="14" rx="7"/>',
        f'<line class="span {r["verdict"]}" x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>',
        f'<circle class="value {r["verdict"]}" cx="{v:.1f}" cy="{y}" r="6"/>',
        f'<text class="tick" x="{v:.1f}" y="{y - 11}" text-anchor="middle">{r["value"]:.3g}</text>',
    ]
    for edge in ("min", "max"):
        if (bound := r["limit"][edge]) is not None:
            x = at(bound, 0)
            parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 20}" text-anchor="middle">{edge} {bound:g}</text>')
    return parts


def _limit_scale(row: Mapping[str, Any]) -> Any:
    """value -> 0…1 along the rail; both ends hold the limits and the interval with some room."""
    limit = row["limit"]
    known = [v for v in (limit["min"], limit["max"], row["below"], row["above"], row["value"]) if v is not None]
    low, high = min(0.0, *known), max(0.0, *known)
    room = 0.15 * (high - low or 1.0)
    low, high = low - room if low < 0 else low, high + room
    if row["unit"] == "share" and limit["max"] is None:
        high = 1.0

    def place(value: float | None, missing: float) -> float:
        return missing if value is None else min(1.0, max(0.0, (value - low) / (high - low)))

    return place


class _Scale:
    def __init__(self, low: float, high: float, log: bool):
        self.log = log
        pad = 0.0 if log else 0.06 * (high - low or abs(high) or 1.0)
        self.low, self.high = (low / 1.1, high * 1.1) if log else (low - pad, high + pad)

    def place(self, y: float) -> float:
        f = math.log if self.log else float
        share = (f(y) - f(self.low)) / (f(self.high) - f(self.low))
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            every = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
            inside = [t for t in every if self.low <= t <= self.high]
            return inside if len(inside) <= 6 else inside[:: math.ceil(len(inside) / 6)]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 3))
        step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (m * step) <= 5)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step) + 1)]


def _scale(low: float, high: float, log: bool) -> _Scale:
    return _Scale(low, high, log)


def _axes(scale: _Scale, y_title: str, x_title: str, x_of: Any) -> str:
    parts = []
    for tick in scale.ticks():
        y = scale.place(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.3g}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<text class="tick" x="{x_of(share):.1f}" y="{HEIGHT - BOTTOM + 14}"'
            f' text-anchor="middle">{share:.0%}</text>'
        )
    parts.append(
        f'<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}"'
        f' text-anchor="middle">{escape(x_title)}</text>'
    )
    parts.append(f'<text class="tick" x="{LEFT - 40}" y="{TOP - 3}">{escape(y_title)}</text>')
    return "".join(parts)


def _spread(ys: Sequence[float], gap: float = 14.0, bottom: float = HEIGHT - BOTTOM) -> list[float]:
    """Label heights moved apart so that none covers another."""
    order = sorted(range(len(ys)), key=lambda i: ys[i])
    placed = list(ys)
    for a, b in pairwise(order):
        placed[b] = max(placed[b], placed[a] + gap)
    over = placed[order[-1]] - bottom if order else 0
    return [y - over for y in placed] if over > 0 else placed


def _svg(width: float, height: float, body: str, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )
