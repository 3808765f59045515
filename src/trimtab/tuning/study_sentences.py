"""What a designed study found, in sentences for someone who reads nothing else. Takes the rows of its result; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.analysis import effects

Rows = Sequence[Mapping[str, Any]]
NAMED = 4  # cells that lack the same


def sentence(
    kind: str,
    rows: Rows,
    spread: Mapping[str, Any] | None,
    gain: Mapping[str, Any] | None,
    shares: str | None,
    unit: str,
) -> str:
    """`rows`: the cells; `spread` and `gain`: of a repeat; `shares`: of a factorial, which setting matters; `unit`
    of the loss."""
    if spread is not None:
        return _of_repeats(spread, unit) + _against_noise(spread, gain, unit)
    if kind == "repeat":
        return "No seed was trained to its end."
    parts = [
        shares and shares.rstrip("."),
        _told(rows, unit),
        *(_beyond(rows) if kind == "scan" else []),
        _listed("Cannot tell yet", _undecided(rows)),
        _listed("Stopped, outside the budget", [r["cell"] for r in rows if r["mean"] is None and r["breach"]]),
        _listed("Not finished", [r["cell"] for r in rows if r["mean"] is None and not r["breach"]]),
    ]
    return ". ".join(filter(None, parts)) + "."


def _undecided(rows: Rows) -> list[str]:
    """By what they lack; many that lack the same are counted, for nobody reads a page of names."""
    lacking = defaultdict[str, list[str]](list)
    for r in rows:
        if r["against"] and r["against"]["need"]:
            lacking[r["against"]["need"]].append(r["cell"])
    named = lambda cells: "; ".join(cells) if len(cells) <= NAMED else f"{len(cells)} cells"  # noqa: E731
    return [f"{named(cells)} ({need})" for need, cells in lacking.items()]


def _listed(head: str, names: Sequence[str]) -> str:
    return f"{head}: {'; '.join(names)}" if names else ""


def _told(rows: Rows, unit: str) -> str:
    """The best of what is better than the baseline; else what is worse."""
    name = rows[0]["cell"]
    by: dict[str, list[Mapping[str, Any]]] = {"better": [], "worse": [], "cannot tell yet": []}
    for r in rows[1:]:
        if r["against"]:
            by[r["against"]["verdict"]].append(r)
    if by["better"]:
        best, *others = sorted(by["better"], key=lambda r: r["against"]["value"])
        too = f"; better too: {', '.join(r['cell'] for r in others)}" if others else ""
        return f"{best['cell']} is better than {name}: {_span(best['against'], unit)}{too}"
    if by["worse"]:
        return (
            f"Nothing is better than {name}; worse:"
            f" {', '.join(r['cell'] + ' ' + _span(r['against'], unit) for r in by['worse'])}"
        )
    return f"No difference from {name} can be told yet"


def _of_repeats(s: Mapping[str, Any], unit: str) -> str:
    if s["sd"] is None:
        return "One seed says nothing of stability: at least 2, better 5."
    low, high = s["share_interval"]
    span = (
        f"SD {s['sd']:.4f} [{s['low']:.4f}, {s['high']:.4f}] {unit}, range {s['share']:.1%} of the mean [{low:.1%},"
        f" {high:.1%}]"
    )
    words = {"stable": "Stable", "not stable": "Not stable", "cannot tell yet": "Cannot tell yet whether it is stable"}
    return f"{words[s['verdict']]} over {s['seeds']} seeds by the rule of {effects.RULE:.0%}: {span}."


def _against_noise(s: Mapping[str, Any], gain: Mapping[str, Any] | None, unit: str) -> str:
    """What training brought, and how that compares with what a seed does."""
    if gain is None or gain["low"] is None:
        return ""
    times = f", {abs(gain['value']) / s['sd']:.0f} times the SD of a seed" if s["sd"] else ""
    told = {"better": "Better", "worse": "Worse"}.get(gain["verdict"], "It cannot be told yet whether it is better")
    return f" {told} than the untouched model: {_span(gain, unit)}{times}."


def _span(a: Mapping[str, Any], unit: str) -> str:
    bounds = f" [{a['low']:+.3f}, {a['high']:+.3f}]" if a["low"] is not None else ""
    return f"{a['value']:+.3f}{bounds} {unit}"


def _beyond(rows: Rows) -> list[str]:
    """Where the best of a scanned setting's values is the lowest or highest tried, what to try next."""
    sentences = []
    for name in dict.fromkeys(k for r in rows for k in r["changed"]):
        line = [r for r in rows if r["mean"] is not None and (name in r["changed"] or r is rows[0])]
        values = sorted({r["at"][name] for r in line if isinstance(r["at"][name], int | float)})
        best = min(line, key=lambda r: r["mean"], default=None)
        if best is None or len(values) < 3 or len(values) < len(line) or not _told_apart(best, line):
            continue
        at = best["at"][name]
        if at in (values[0], values[-1]):
            word, beside = ("lowest", values[1]) if at == values[0] else ("highest", values[-2])
            further = at * at / beside if values[0] > 0 else 2 * at - beside
            further = round(further) if isinstance(at, int) else float(f"{further:.2g}")
            sentences.append(
                f"{name} {at:g} is the {word} tried and the best may lie beyond: extend with {name}={further:g}"
            )
    return sentences


def _told_apart(best: Mapping[str, Any], line: Rows) -> bool:
    """Better than the first, or the first itself and something is worse."""
    verdicts = {r["against"]["verdict"] for r in line if r["against"]}
    return best["against"]["verdict"] == "better" if best["against"] else "worse" in verdicts
