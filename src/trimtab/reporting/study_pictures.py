"""Which pictures a study has, by name; and cells against the baseline, and what share of each number a setting has.
Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trimtab.analysis.card import pulse_limit
from trimtab.reporting import plots
from trimtab.reporting.draw import _svg
from trimtab.spec.budget import Budget

STATE = {"better": "PASS", "worse": "FAIL", "cannot tell yet": "UNDECIDED"}


def pictures(result: Mapping[str, Any], evidence: Mapping[str, Any]) -> dict[str, str]:
    """SVG by name, in the order of the page; only those that have something to show."""
    words = result["words"]
    made = {
        "curves": plots.seed_bands(evidence["curves"], words["unit"]),
        "heat-map": heat_map(evidence["attribution"]),
    }
    if result["kind"] == "search":
        best, front = result["best"] and result["best"]["run"], result["front"]
        rows = [{**t, "kept": t["run"] == best, "front": t["run"] in front} for t in result["trials"]]
        budget = result["asked"]["budget"]
        drift = pulse_limit(words["drift_key"], Budget.model_validate(budget)) if budget else None
        made = {
            "front": plots.front(rows, words, drift.max if drift else None),
            "parallel-coordinates": plots.parallel(rows),
            **made,
        }
    elif result["kind"] == "path":
        made = {"steps": steps(result["steps"], words["unit"]), **made}
    else:
        settings = dict.fromkeys(k for c in result["cells"] for k in c["changed"])
        one = {k: [c for c in result["cells"] if not c["changed"] or list(c["changed"]) == [k]] for k in settings}
        scans = {
            f"scan-{k}": plots.scan_curve(
                [result["cells"][0], *(c for c in v if c is not result["cells"][0])], k, words["unit"]
            )
            for k, v in one.items()
        }
        ways = [{"params": c["changed"], "loss": c["mean"], "kept": False} for c in result["cells"] if c["changed"]]
        many = plots.parallel(ways) if result["kind"] == "factorial" else ""
        made = {
            **scans,
            "against-the-baseline": forest(result["cells"], words["unit"]),
            "parallel-coordinates": many,
            **made,
        }
    return {k: v for k, v in made.items() if v}


def steps(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    """A path's steps one below the other, each from where the last one ended; green lowers the loss, red raises it."""
    width, left, right, step, top = 860, 260, 110, 30, 12
    low, high = (f([v for r in rows for v in (r["from"], r["loss"])]) for f in (min, max))

    def x(value: float) -> float:
        return left + (value - low) / (high - low or 1.0) * (width - left - right)

    parts = []
    for i, r in enumerate(rows):
        told = r["step"] and (r["step"]["low"] > 0 or r["step"]["high"] < 0)
        y, state = top + step * i + 10, "UNDECIDED" if not told else "PASS" if r["loss"] < r["from"] else "FAIL"
        to = f"{r['to']:g}" if isinstance(r["to"], float) else str(r["to"])
        parts.append(
            f'<text class="name" x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(r["setting"])}'
            f" {escape(to)}</text>"
        )
        parts.append(f'<line class="span {state}" x1="{x(r["from"]):.1f}" x2="{x(r["loss"]):.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="value {state}" cx="{x(r["loss"]):.1f}" cy="{y}" r="4"/>')
        parts.append(
            f'<text class="state {state}" x="{width - right + 14}" y="{y + 4}">{r["loss"] - r["from"]:+.3f}</text>'
        )
    height = top + step * len(rows) + 26
    for value in (low, high):
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{height - 6}" text-anchor="middle">{value:.3f}</text>')
    return _svg(width, height, "".join(parts), f"Steps from one run to the other, validation loss in {unit}")


def forest(cells: Sequence[Mapping[str, Any]], unit: str) -> str:
    """Each cell's difference from the first with its interval, around a line at no difference. Empty without an
    interval."""
    rows = [c for c in cells if c["against"] and c["against"]["low"] is not None]
    if not rows:
        return ""
    width, left, right, step, top = 860, 370, 130, 30, 12
    ends = [0.0, *(c["against"][k] for c in rows for k in ("low", "high"))]
    low, high = min(ends), max(ends)

    def x(value: float) -> float:
        return left + (value - low) / (high - low or 1.0) * (width - left - right)

    height = top + step * len(rows) + 34
    parts = [f'<line class="bound" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{top - 6}" y2="{height - 30}"/>']
    for i, cell in enumerate(rows):
        a, y = cell["against"], top + step * i + 10
        state = STATE[a["verdict"]]
        parts.append(
            f'<text class="tick" x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(cell["cell"][:60])}</text>'
        )
        parts.append(f'<line class="span {state}" x1="{x(a["low"]):.1f}" x2="{x(a["high"]):.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="value {state}" cx="{x(a["value"]):.1f}" cy="{y}" r="5"/>')
        parts.append(f'<text class="state {state}" x="{width - right + 12}" y="{y + 4}">{a["verdict"]}</text>')
    for value in (low, 0.0, high):
        parts.append(
            f'<text class="tick" x="{x(value):.1f}" y="{height - 16}" text-anchor="middle">{value:+.3g}</text>'
        )
    parts.append(
        f'<text class="tick" x="{(left + width - right) / 2}" y="{height - 2}" text-anchor="middle">validation loss'
        f" against “{escape(cells[0]['cell'])}”, {unit}; left is better</text>"
    )
    return _svg(width, height, "".join(parts), "Cells against the baseline")


def heat_map(rows: Sequence[Mapping[str, Any]]) -> str:
    """Numbers by settings, couplings and the seed: the darker, the larger the share; with its interval below."""
    known = [r for r in rows if r["shares"] and _share(r, "seed")["low"] < 1]  # what never changed has nothing to share
    if not known:
        return ""
    names = list(dict.fromkeys(" × ".join(s["names"]) for r in known for s in r["shares"]))
    names = [n for n in names if " × " not in n or any(_share(r, n)["value"] >= 0.05 for r in known)]
    left, cell, step, top = 170, 118, 40, 26
    parts = [
        f'<text class="tick" x="{left + cell * i + cell / 2}" y="16" text-anchor="middle">{escape(n[:19])}</text>'
        for i, n in enumerate(names)
    ]
    for j, row in enumerate(known):
        y = top + step * j
        parts.append(
            f'<text class="tick" x="{left - 10}" y="{y + 24}" text-anchor="end">{escape(row["number"][:26])}</text>'
        )
        for i, name in enumerate(names):
            s = _share(row, name)
            x = left + cell * i
            parts.append(
                f'<rect class="heat" x="{x}" y="{y}" width="{cell - 3}" height="{step - 3}"'
                f' fill-opacity="{0.5 * min(1.0, s["value"]):.2f}"/>'
            )
            parts.append(
                f'<text class="label" x="{x + cell / 2}" y="{y + 17}" text-anchor="middle">{s["value"]:.0%}</text>'
            )
            parts.append(
                f'<text class="tick" x="{x + cell / 2}" y="{y + 31}" text-anchor="middle">{s["low"]:.0%} –'
                f" {s['high']:.0%}</text>"
            )
    return _svg(
        left + cell * len(names), top + step * len(known) + 6, "".join(parts), "Share of each number by setting"
    )


def _share(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((s for s in row["shares"] if " × ".join(s["names"]) == name), {"value": 0.0, "low": 0.0, "high": 0.0})
