"""The card's own pictures as SVG text: the ruler for drift, confidence against accuracy, drift against a setting.
Pure functions of plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trimtab.reporting.draw import _svg

# What quantisation does to an 8B model (llama.cpp, LLaMA-3-8B), nats/token.
RULER = (
    ("8-bit", 0.0014),
    ("6-bit", 0.0055),
    ("5-bit", 0.011),
    ("4-bit", 0.031),
    ("3-bit", 0.10),
    ("2-bit", 0.45),
    ("1-bit", 1.39),
)
LOW, HIGH = 1e-5, 20.0


def ruler(row: Mapping[str, Any], first: Mapping[str, Any] | None) -> str:
    """KL on a logarithmic rail, between marks that people know; the null floor as a tick, the first answer token as
    a ring. "" where it was not measured."""
    if row["value"] is None:
        return ""
    return _svg(RULED, 96, "".join(ruler_parts(row, first)), "Drift on the ruler of quantisation damage")


RULED = 720  # wide


def ruler_parts(row: Mapping[str, Any], first: Mapping[str, Any] | None) -> list[str]:
    """The same as parts of a picture, 96 high."""
    width, left, right, y = RULED, 20, 20, 62

    def x(value: float) -> float:
        share = (math.log(min(HIGH, max(LOW, value))) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))
        return left + share * (width - left - right)

    parts = [f'<rect class="rail" x="{left}" y="{y - 6}" width="{width - left - right}" height="12" rx="6"/>']
    if row["limit"] and row["limit"]["max"] is not None:
        end = x(row["limit"]["max"])
        parts.append(f'<rect class="inside" x="{left}" y="{y - 6}" width="{end - left:.1f}" height="12" rx="6"/>')
    for name, value in RULER:
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{y + 6}" y2="{y + 13}"/>')
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{y + 26}" text-anchor="middle">{name}</text>')
    if row["floor"]:
        parts += _mark(x, y, max(row["floor"].values()), "null floor")
    if first and first["value"] is not None:
        parts.append(f'<circle class="ring" cx="{x(first["value"]):.1f}" cy="{y}" r="6"/>')
        parts.append(
            f'<text class="tick" x="{x(first["value"]):.1f}" y="{y - 14}" text-anchor="middle">first token'
            f" {first['value']:.2g}</text>"
        )
    state = row["verdict"] or "UNDECIDED"
    a, b = x(row["low"] or LOW), x(row["high"] or row["value"])
    parts.append(f'<line class="span {state}" x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>')
    parts.append(f'<circle class="value {state}" cx="{x(row["value"]):.1f}" cy="{y}" r="7"/>')
    parts.append(
        f'<text class="state {state}" x="{x(row["value"]):.1f}" y="{y - 30}" text-anchor="middle">drift'
        f" {row['value']:.2g}</text>"
    )
    return parts


def _mark(x: Any, y: float, value: float, name: str) -> list[str]:
    at = x(value)
    return [
        f'<line class="bound" x1="{at:.1f}" x2="{at:.1f}" y1="{y - 9}" y2="{y + 9}"/>',
        f'<text class="tick" x="{at:.1f}" y="{y - 14}" text-anchor="{"start" if at < 60 else "middle"}">{name}</text>',
    ]


def lines(
    points: Sequence[Mapping[str, Any]], x_key: str, series: Sequence[tuple[str, str]], x_title: str, title: str
) -> str:
    """Several numbers between 0 and 1 over one axis, named at their right end. Points without a number are left out."""
    width, height, left, right, top, bottom = 520, 240, 46, 150, 14, 36
    xs = [p[x_key] for p in points]
    if not xs:
        return ""
    low, high = min(0.0, *xs), max(xs) or 1.0

    def at(px: float, py: float) -> tuple[float, float]:
        return left + (px - low) / (high - low) * (width - left - right), top + (1 - py) * (height - top - bottom)

    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = at(low, tick)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.0%}</text>')
    for px in xs:
        parts.append(
            f'<text class="tick" x="{at(px, 0)[0]:.1f}" y="{height - bottom + 15}" text-anchor="middle">{px:.3g}</text>'
        )
    parts.append(
        f'<text class="tick" x="{(left + width - right) / 2}" y="{height - 4}"'
        f' text-anchor="middle">{escape(x_title)}</text>'
    )
    placed: list[float] = []
    for i, (key, name) in enumerate(series):
        known = [(p[x_key], p[key]) for p in points if p.get(key) is not None]
        if not known:
            continue
        path = " ".join("{:.1f},{:.1f}".format(*at(px, py)) for px, py in known)
        parts.append(f'<polyline class="line c{i} kept" points="{path}"/>')
        parts += ['<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3"/>'.format(i, *at(px, py)) for px, py in known]
        end = at(*known[-1])[1]
        while any(abs(end - p) < 14 for p in placed):
            end += 14
        placed.append(end)
        parts.append(f'<text class="label c{i}" x="{width - right + 8}" y="{end + 4:.1f}">{escape(name)}</text>')
    return _svg(width, height, "".join(parts), title)


def against(rows: Sequence[Mapping[str, Any]], setting: str, limit: float | None, unit: str) -> str:
    """Drift of the compared runs over the setting that they differ in, both logarithmic, with the budget's limit;
    colours as in the curves. Empty where fewer than two of them have a drift, or the setting is no positive number."""
    points = sorted(
        {(_as_number(r[setting]), r["drift"], bool(r["kept"])) for r in rows if _as_number(r[setting]) and r["drift"]}
    )
    if len({x for x, _, _ in points}) < 2:
        return ""
    width, height, left, right, top, bottom = 520, 210, 56, 90, 22, 36
    xs = _Log([p[0] for p in points], left + 14, width - right - 14)
    ys = _Log([*(p[1] for p in points), *([limit] if limit else [])], height - bottom - 8, top + 8)
    parts = [f'<text class="tick" x="{left - 50}" y="{top - 10}">drift, {unit} (pulse)</text>']
    parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{height - bottom}" y2="{height - bottom}"/>')
    if limit:
        y = ys(limit)
        parts.append(f'<line class="bound" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{width - right + 6}" y="{y + 3.5:.1f}">limit {limit:g}</text>')
    path = " ".join(f"{xs(x):.1f},{ys(drift):.1f}" for x, drift, _ in points)
    parts.append(f'<polyline class="line c0" points="{path}"/>')
    for x, drift, kept in points:
        parts.append(
            f'<circle class="dot c{0 if kept else 1}" cx="{xs(x):.1f}" cy="{ys(drift):.1f}" r="{6 if kept else 4}"/>'
        )
        parts.append(
            f'<text class="tick" x="{xs(x):.1f}" y="{ys(drift) - 10:.1f}"'
            f' text-anchor="middle">{drift:.2g}{" ✓" if kept else ""}</text>'
        )
        parts.append(f'<text class="tick" x="{xs(x):.1f}" y="{height - bottom + 15}" text-anchor="middle">{x:g}</text>')
    parts.append(
        f'<text class="tick" x="{(left + width - right) / 2}" y="{height - 4}"'
        f' text-anchor="middle">{escape(setting)}</text>'
    )
    return _svg(width, height, "".join(parts), f"Drift against {setting}")


def _as_number(value: Any) -> float:
    """0 for what is no positive number."""
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return 0.0


class _Log:
    """Positive values onto a stretch of the page, logarithmically."""

    def __init__(self, values: Sequence[float], start: float, end: float):
        self.low, self.high, self.start, self.end = math.log(min(values)), math.log(max(values)), start, end

    def __call__(self, value: float) -> float:
        share = (math.log(value) - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)
