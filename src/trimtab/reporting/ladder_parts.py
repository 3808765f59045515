"""The ladder of remedies as a page's parts: its steps, and pictures of gain against each hard limit, with the budget
as a line. Takes plain data, gives data and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trimtab.reporting.draw import _svg
from trimtab.reporting.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, _frame
from trimtab.tuning.ladder import rows_of


def parts(result: Mapping[str, Any]) -> dict[str, Any]:
    """{"result", "pictures" and their "titles" by number, "steps": [(title, rows, note)]} for ladder.html."""
    rows = rows_of(result)
    named: Mapping[str, Any] = next((r["numbers"] for r in rows if r["numbers"]), {})
    best = result["recommended"] and result["recommended"]["run"]
    drawn = {key: trade(rows, key, result["metric_title"], best) for key, n in named.items() if n["hard"]}
    drawn = {key: picture for key, picture in drawn.items() if picture}
    titles = {key: f"{result['metric_title']} against {named[key]['title'].lower()}" for key in drawn}
    steps = [("The run", [result["start"]], None)]
    steps += [(rung["title"], rung["rows"], rung["note"]) for rung in result["rungs"]]
    return {"result": result, "pictures": drawn, "titles": titles, "steps": steps}


def trade(rows: Sequence[Mapping[str, Any]], number: str, metric: str, best: str | None) -> str:
    """Gain of each judged run by what it moved a number, with the budget's limit. "" with fewer than two of them."""
    seen = [r for r in rows if r["gain"] and (r["numbers"].get(number) or {}).get("value") is not None]
    if len(seen) < 2:
        return ""
    limit = seen[0]["numbers"][number]["limit"]
    edges = [e for e in (limit["min"], limit["max"]) if e is not None]
    values = [r["numbers"][number]["value"] for r in seen]
    x = Axis([*values, *edges, 0.0], LEFT, WIDTH - RIGHT, log=False)
    y = Axis([0.0, *(100 * r["gain"][k] for r in seen for k in ("low", "high"))], HEIGHT - BOTTOM, TOP, log=False)
    unit = seen[0]["numbers"][number]["unit"]
    parts = [_frame(x, y, f"{number}, {unit}", f"gain in {metric.lower()}, points")]
    for edge in edges:
        parts.append(f'<line class="bound" x1="{x(edge):.1f}" x2="{x(edge):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x(edge) + 6:.1f}" y="{TOP + 10}">limit {edge:g}</text>')
    parts += [_point(x, y, r, number, best, str(i + 1)) for i, r in enumerate(seen)]
    for i, r in enumerate(seen):  # names stand below: beside their points they would cross each other and the limit
        name = f"{i + 1}  {r['what']}{', recommended' if best and r['run'] == best else ''}"
        parts.append(f'<text class="label" x="{LEFT}" y="{HEIGHT + 14 + 18 * i}">{escape(name)}</text>')
    return _svg(WIDTH, HEIGHT + 18 * len(seen) + 6, "".join(parts), f"Gain against {number}")


def _point(x: Axis, y: Axis, row: Mapping[str, Any], number: str, best: str | None, name: str) -> str:
    gain, at = row["gain"], x(row["numbers"][number]["value"])
    style = "ring" if not row["inside"] else "dot c1" if row["run"] == best else "dot c2"
    return (
        f'<line class="span c0" x1="{at:.1f}" x2="{at:.1f}" y1="{y(100 * gain["low"]):.1f}"'
        f' y2="{y(100 * gain["high"]):.1f}" style="stroke-width:2"/>'
        f'<circle class="{style}" cx="{at:.1f}" cy="{y(100 * gain["value"]):.1f}" r="6"/>'
        f'<text class="label halo" x="{at + 10:.1f}" y="{y(100 * gain["value"]) - 8:.1f}">{name}</text>'
    )
