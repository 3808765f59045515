"""The first picture of a report: the task before and after, the drift, the verdict. Takes a recommendation and its
card's row of drift, gives SVG text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from trimtab.reporting.draw import _svg
from trimtab.reporting.pictures import RULED, ruler_parts

WIDTH, LEFT, RIGHT = RULED, 130, 140
ROW, TOP = 34, 30  # a bar's height with its room; the title's


def glance(result: Mapping[str, Any], drift: Mapping[str, Any] | None, unit: str = "") -> str:
    """Of a recommendation; `drift` is the card's row, in `unit`: the ruler stands only where it was measured."""
    bars = _task(result)
    verdict = str(result["verdict"])
    parts = [
        f'<text class="name" x="0" y="16">{escape(str(result["metric_title"]))}, held-out examples</text>',
        *bars,
        f'<text class="state {verdict}" x="{WIDTH}" y="16" text-anchor="end">{verdict}</text>',
    ]
    height = TOP + 2 * ROW + 8
    if drift and drift["value"] is not None:
        title = f"Drift on neutral prompts{', ' + unit if unit else ''}, between what quantising does"
        parts.append(f'<text class="name" x="0" y="{height + 18}">{escape(title)}</text>')
        parts.append(f'<g transform="translate(0,{height + 14})">{"".join(ruler_parts(drift, None))}</g>')
        height += 14 + 96
    return _svg(WIDTH, height, "".join(parts), "The result at a glance")


def _task(result: Mapping[str, Any]) -> list[str]:
    """Base and tuned as bars from 0 to 1: of the seeds that chose nothing, with the interval of their gain."""
    base, gain = float(result["seeds"][0]["base"][result["metric"]]), result["gain"]
    low, high = (None if gain[k] is None else base + gain[k] for k in ("low", "high"))
    return _bar(0, str(result.get("baseline", "untouched")), base, None, None, "c5") + _bar(
        1, "tuned", base + gain["value"], low, high, "c0"
    )


def _bar(place: int, name: str, value: float, low: float | None, high: float | None, colour: str) -> list[str]:
    span, y = WIDTH - LEFT - RIGHT, TOP + place * ROW
    x = lambda share: LEFT + min(1.0, max(0.0, share)) * span  # noqa: E731
    parts = [
        f'<text class="name" x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{name}</text>',
        f'<rect class="rail" x="{LEFT}" y="{y}" width="{span}" height="22" rx="3"/>',
        f'<rect class="fill {colour}" x="{LEFT}" y="{y}" width="{x(value) - LEFT:.1f}" height="22" rx="3"'
        ' fill-opacity="0.5"/>',
    ]
    text = f"{value:.0%}"
    if low is not None and high is not None:
        parts.append(f'<line class="whisker" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y + 11}" y2="{y + 11}"/>')
        text += f" [{max(0.0, low):.0%}, {min(1.0, high):.0%}]"
    return [*parts, f'<text class="name" x="{LEFT + span + 10}" y="{y + 16}">{text}</text>']
