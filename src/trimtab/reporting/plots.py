"""Pictures of studies as SVG text: a scan with its intervals, curves with seed bands, parallel coordinates, the
front of two aims.

Pure functions of plain data; colours come from the page's style sheet. A picture without data is the empty string.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from trimtab.reporting.draw import _spread, _svg

WIDTH, HEIGHT = 860, 340
LEFT, RIGHT, TOP, BOTTOM = 70, 180, 22, 46
Row = Mapping[str, Any]


class Axis:
    """value -> place between two pixels; logarithmic where values are positive and span a factor of five."""

    def __init__(self, values: Sequence[float], first: float, last: float, log: bool | None = None):
        low, high = min(values), max(values)
        self.log = (low > 0 and high / low >= 5) if log is None else log
        room = 0.05 * (self._f(high) - self._f(low)) or 0.5 * (abs(self._f(high)) or 1.0)
        self.low, self.high, self.first, self.last = self._f(low) - room, self._f(high) + room, first, last

    def _f(self, value: float) -> float:
        return math.log10(value) if self.log else float(value)

    def __call__(self, value: float) -> float:
        return self.first + (self._f(value) - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self) -> list[float]:
        if self.log:
            every = [m * 10.0**e for e in range(math.floor(self.low), math.ceil(self.high) + 1) for m in (1, 2, 5)]
            inside = [t for t in every if self.low <= math.log10(t) <= self.high]
            return inside if len(inside) <= 7 else [t for t in inside if f"{t:e}"[0] == "1"]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 3))
        step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (m * step) <= 6)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def scan_curve(cells: Sequence[Row], setting: str, unit: str) -> str:
    """Mean validation loss by the setting's value; a bar is the 95 % interval of the difference from the first cell."""
    at_of = lambda c: c.get("at", c["changed"]).get(setting)  # noqa: E731
    rows = [
        c
        for c in cells
        if isinstance(at_of(c), int | float) and not isinstance(at_of(c), bool) and c["mean"] is not None
    ]
    if len(rows) < 2:
        return ""
    rows = sorted(rows, key=at_of)
    base = cells[0]["mean"]
    bars = {
        id(c): (base + c["against"]["low"], base + c["against"]["high"])
        for c in rows
        if base is not None and c["against"] and c["against"]["low"] is not None
    }
    x = Axis([at_of(c) for c in rows], LEFT, WIDTH - RIGHT)
    y = Axis([c["mean"] for c in rows] + [e for pair in bars.values() for e in pair], HEIGHT - BOTTOM, TOP)
    line = " ".join(f"{x(at_of(c)):.1f},{y(c['mean']):.1f}" for c in rows)
    parts = [_frame(x, y, setting, f"validation loss, {unit}"), f'<polyline class="line c0" points="{line}"/>']
    for c in rows:
        at, state = x(at_of(c)), _state(c)
        if id(c) in bars:
            low, high = bars[id(c)]
            parts.append(
                f'<line class="span {state}" x1="{at:.1f}" x2="{at:.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"/>'
            )
        parts.append(
            f'<circle class="value {state}" cx="{at:.1f}" cy="{y(c["mean"]):.1f}" r="5"><title>{escape(c["cell"])}:'
            f" {c['mean']:.4f}</title></circle>"
        )
    if any(c is cells[0] for c in rows):
        parts.append(f'<text class="label c0" x="{x(at_of(cells[0])) + 9:.1f}" y="{y(base) - 9:.1f}">baseline</text>')
    return _svg(WIDTH, HEIGHT, "".join(parts), f"Validation loss by {setting}")


def _state(cell: Row) -> str:
    return (
        {"better": "PASS", "worse": "FAIL", "cannot tell yet": "UNDECIDED"}[cell["against"]["verdict"]]
        if cell["against"]
        else "c0"
    )


def seed_bands(curves: Sequence[Row], unit: str, most: int = 8) -> str:
    """Validation loss over the run, by recipe: the mean of its seeds as a line, from the lowest to the highest as a
    band."""
    shown = sorted((c for c in curves if c["points"]), key=lambda c: c["points"][-1]["mean"])[:most]
    if not shown:
        return ""
    points = [p for c in shown for p in c["points"]]
    x = Axis([0.0, 1.0], LEFT, WIDTH - RIGHT, log=False)
    y = Axis([p["low"] for p in points] + [p["high"] for p in points], HEIGHT - BOTTOM, TOP)
    parts = [_frame(x, y, "share of the run", f"validation loss, {unit}")]
    for i, curve in enumerate(shown):
        rows = curve["points"]
        band = [*((p["share"], p["low"]) for p in rows), *((p["share"], p["high"]) for p in rows[::-1])]
        if any(p["seeds"] > 1 for p in rows):
            parts.append(f'<polygon class="fill c{i % 6}" fill-opacity="0.18" points="{_points(x, y, band)}"/>')
        parts.append(
            f'<polyline class="line c{i % 6}" points="{_points(x, y, [(p["share"], p["mean"]) for p in rows])}"/>'
        )
    ends = _spread([y(c["points"][-1]["mean"]) for c in shown], bottom=HEIGHT - BOTTOM)
    for i, (curve, end) in enumerate(zip(shown, ends, strict=True)):
        parts.append(
            f'<text class="label c{i % 6}" x="{x(curve["points"][-1]["share"]) + 8:.1f}"'
            f' y="{end + 4:.1f}">{escape(_cut(curve["name"]))}</text>'
        )
    return _svg(WIDTH, HEIGHT, "".join(parts), "Validation loss over the run, by recipe")


def parallel(rows: Sequence[Row]) -> str:
    """Each run as a line through its settings to its loss; the better the loss, the stronger the line. `rows`:
    {params, loss, kept}."""
    known = [r for r in rows if r["loss"] is not None]
    names = list(known[0]["params"]) if known else []
    if len(known) < 2 or not names:
        return ""
    axes = [*names, "validation loss"]
    gap = (WIDTH - 150) / (len(axes) - 1)
    scales = [_Column([r["params"][n] for r in known]) for n in names] + [_Column([r["loss"] for r in known])]
    order = sorted(range(len(known)), key=lambda i: -known[i]["loss"])
    parts = []
    for rank, i in enumerate(order):
        r = known[i]
        values = [*(r["params"][n] for n in names), r["loss"]]
        line = " ".join(f"{75 + gap * k:.1f},{s(v):.1f}" for k, (s, v) in enumerate(zip(scales, values, strict=True)))
        strength = 0.15 + 0.85 * (rank + 1) / len(order)
        style = "line c1 kept" if r["kept"] else "line c0"
        parts.append(
            f'<polyline class="{style}" style="opacity:{1.0 if r["kept"] else strength:.2f}" points="{line}"/>'
        )
    for k, (name, scale) in enumerate(zip(axes, scales, strict=True)):
        at = 75 + gap * k
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP + 14}" y2="{HEIGHT - 26}"/>')
        parts.append(f'<text class="name" x="{at:.1f}" y="{TOP}" text-anchor="middle">{escape(name[:24])}</text>')
        parts += [
            f'<text class="tick halo" x="{at + 5:.1f}" y="{scale(v) - 5:.1f}">{escape(_text(v))}</text>'
            for v in scale.ticks()
        ]
    return _svg(WIDTH, HEIGHT, "".join(parts), "Every run through its settings to its loss")


class _Column:
    """An axis of parallel coordinates: numbers by size, anything else by kind."""

    def __init__(self, values: Sequence[Any]):
        self.kinds = (
            None
            if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
            else list(dict.fromkeys(map(str, values)))
        )
        self.values = sorted(set(values)) if self.kinds is None else []
        self.axis = Axis(
            values if self.kinds is None else [0.0, max(1.0, len(self.kinds) - 1.0)], HEIGHT - 36, TOP + 24
        )

    def __call__(self, value: Any) -> float:
        return self.axis(value if self.kinds is None else self.kinds.index(str(value)))

    def ticks(self) -> list[Any]:
        if self.kinds is not None:
            return self.kinds
        return (
            self.values
            if len(self.values) <= 6
            else [self.values[0], self.values[len(self.values) // 2], self.values[-1]]
        )


def front(rows: Sequence[Row], words: Row, limit: float | None = None) -> str:
    """Loss against drift: the runs that no other beats in both are joined; hollow is outside the budget. `rows`:
    {loss, drift, inside, run, front, kept}; `words` as spec/words.py shows them; `limit`: of the drift."""
    known = [r for r in rows if r["loss"] is not None and r["drift"] is not None]
    if len(known) < 2:
        return ""
    x = Axis([max(r["drift"], 1e-6) for r in known] + ([limit] if limit else []), LEFT, WIDTH - RIGHT)
    y = Axis([r["loss"] for r in known], HEIGHT - BOTTOM, TOP)
    parts = [_frame(x, y, words["drift_axis"], f"validation loss, {words['unit']}")]
    if limit:
        parts.append(f'<line class="bound" x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x(limit) - 6:.1f}" y="{TOP + 10}" text-anchor="end">limit {limit:g}</text>'
        )
    best = sorted((r for r in known if r["front"]), key=lambda r: r["drift"])
    steps = [p for a, b in pairwise(best) for p in ((a["drift"], a["loss"]), (b["drift"], a["loss"]))] + [
        (b["drift"], b["loss"]) for b in best[-1:]
    ]
    if len(best) > 1:
        parts.append(f'<polyline class="line c2" points="{_points(x, y, [(max(k, 1e-6), v) for k, v in steps])}"/>')
    for r in known:
        style = "ring" if not r["inside"] else f"dot c{1 if r['kept'] else 2 if r['front'] else 0}"
        parts.append(
            f'<circle class="{style}" cx="{x(max(r["drift"], 1e-6)):.1f}" cy="{y(r["loss"]):.1f}"'
            f' r="{7 if r["kept"] else 5}"><title>{escape(r["run"])}: {r["loss"]:.4f}, drift'
            f" {r['drift']:.4f}</title></circle>"
        )
    legend = [
        ("dot c1", "best inside the budget"),
        ("dot c2", "on the front"),
        ("dot c0", "beaten in both"),
        ("ring", "outside the budget"),
    ]
    for i, (style, text) in enumerate(legend):
        parts.append(
            f'<circle class="{style}" cx="{WIDTH - RIGHT + 20}" cy="{TOP + 10 + 20 * i}" r="5"/><text'
            f' x="{WIDTH - RIGHT + 32}" y="{TOP + 14 + 20 * i}">{text}</text>'
        )
    return _svg(WIDTH, HEIGHT, "".join(parts), "Validation loss against drift")


def _points(x: Axis, y: Axis, pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in pairs)


def _frame(x: Axis, y: Axis, x_title: str, y_title: str) -> str:
    parts = []
    for t in y.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{t:.4g}</text>')
    for t in x.ticks():
        parts.append(
            f'<text class="tick" x="{x(t):.1f}" y="{HEIGHT - BOTTOM + 18}"'
            f' text-anchor="middle">{f"{t:.0%}" if x_title.startswith("share") else f"{t:.4g}"}</text>'
        )
    parts.append(
        f'<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}"'
        f' text-anchor="middle">{escape(x_title)}</text>'
    )
    parts.append(f'<text class="tick" x="{LEFT - 56}" y="{TOP - 8}">{escape(y_title)}</text>')
    return "".join(parts)


def _cut(name: str, most: int = 29) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
