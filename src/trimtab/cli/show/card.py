"""Cards, gradient shares, adapter scales and budgets in the terminal. Takes plain data, prints tables."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table

from trimtab.cli.show.plain import STYLE, visible
from trimtab.spec.durations import in_words
from trimtab.spec.numbers import GROUPS

# By the terminal's width: what is read second is left out of a narrow one, so that a number never loses its name.
COLUMNS = (
    (
        210,
        ("number", "base", "tuned", "value", "95 % interval", "n", "floor", "seeds ±", "limit", "judged", "to decide"),
    ),
    (145, ("number", "base", "tuned", "value", "95 % interval", "limit", "judged")),
    (105, ("number", "value", "95 % interval", "limit", "state")),
    (80, ("number", "value", "limit", "state")),
    (0, ("number", "value", "state")),
)
NAME = 30  # columns at least
_SIGN = {"PASS": "✓", "FAIL": "✗", "SOFT FAIL": "✗", "UNDECIDED": "?", "NOT MEASURED": "–"}


def card(judged: Mapping[str, Any]) -> None:
    """A judged card as a table, as wide as the terminal allows."""
    console = Console(highlight=False)
    shown = next(columns for width, columns in COLUMNS if console.width >= width)
    table = Table(box=None, pad_edge=False)
    for name in shown:
        wraps = name in ("number", "to decide")
        title = "" if wraps else "state" if name == "judged" else name
        side: JustifyMethod = "left" if wraps or name in ("limit", "state", "judged") else "right"
        table.add_column(title, justify=side, no_wrap=not wraps, min_width=NAME if name == "number" else None)
    for group, rows in groupby(judged["rows"], key=lambda r: r["group"]):
        table.add_row(f"[bold]{GROUPS[group]}[/]")
        for r in rows:
            cells = _cells(r)
            table.add_row(*(cells[c] for c in shown))
    console.print(table)
    for r in judged["rows"]:
        if (why := r["to_decide"] or r["missing"]) and "to decide" not in shown:
            console.print(f"  {r['title'].removeprefix('… ')}: {why}", style="dim", soft_wrap=True)
    verdict = str(judged["verdict"])
    console.print(f"\n{judged['run']} against budget “{judged['budget']['name']}”: [{STYLE[verdict]} bold]{verdict}[/]")
    if "judged" in shown:
        console.print("Behind a state: the one-sided 95 % bound that decides it.", style="dim")
    else:
        console.print(
            "A wider terminal shows base, tuned and the bound that decides; --html FILE all of it.", style="dim"
        )
    floor = (
        " Floor: the same number where only tiny noise changed the weights, taken of what needs no generation and of"
        " refusals. Seeds ±: how far seeds alone moved it, one recipe on one small model."
        if "floor" in shown
        else ""
    )
    for note in judged.get("notes", []):
        console.print(note, style=STYLE["UNDECIDED"], soft_wrap=True)
    if (asked := judged.get("asked")) and asked["questions"] < asked["of"]:
        console.print(
            f"Asked {asked['questions']:,} of {asked['of']:,} questions: each set until its numbers were known (--whole"
            " asks the others too).",
            style="dim",
        )
    if took := judged.get("seconds"):
        console.print(
            f"Level {judged['level']}; measuring took {in_words(sum(took.values()), 1)}, loading not counted.{floor}"
        )
    if judged.get("page"):
        console.print(f"Page: {judged['page']}", soft_wrap=True)


def _cells(r: Mapping[str, Any]) -> dict[str, str]:
    state = f"[{STYLE[r['verdict']]}]{_SIGN[r['verdict']]} {r['verdict']}[/]" if r["verdict"] else ""
    state += "" if r["hard"] or not state else " soft"
    return {
        "number": f"  {r['title']}{' (corrected by labels)' if r['by_people'] else ''}",
        "base": _short(r["base"]),
        "tuned": _short(r["tuned"]),
        "value": _short(r["value"]),
        "95 % interval": f"\\[{_short(r['low'])}, {_short(r['high'])}]" if r["low"] is not None else "",
        "n": str(r["n"] or ""),
        "floor": _short(r["floor"]["noise"]) if r["floor"] else "",
        "seeds ±": _short(r.get("seed_sd")),
        "limit": limit_text(r["limit"]),
        "state": state,
        "judged": state + (f", {r['judged_by']}" if r.get("judged_by") else ""),
        "to decide": r["to_decide"] or r["missing"] or r.get("no_interval") or "",
    }


def limit_text(limit: Mapping[str, Any] | None) -> str:
    """As in "≥ 0.5 ≤ 2"; empty without a limit."""
    signs = {"min": "≥", "max": "≤"}
    return " ".join(f"{signs[k]} {limit[k]:g}" for k in signs if limit and limit[k] is not None)


def budget(usual: Mapping[str, Any]) -> None:
    """A budget's limits, a line each."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("number", "limit", "", "in", "what it is"):
        table.add_column(name)
    for row in usual["limits"]:
        table.add_row(
            row["number"],
            limit_text(row["limit"]),
            "hard" if row["limit"]["hard"] else "soft",
            row["unit"],
            row["title"],
        )
    console.print(
        f"Budget “{usual['name']}”: a FAIL of a hard limit vetoes a recipe, of a soft one it withholds the PASS\n"
    )
    console.print(table)


def gradient_shares(shares: Mapping[str, Any]) -> None:
    """Which examples the updates came from."""
    console = Console(highlight=False)
    console.print(f"[bold]{shares['run']}[/]: {shares['updates']} updates of {shares['effective_batch']} examples")
    if shares["clip_rate"] is not None:
        console.print(f"clipped: {shares['clip_rate']:.0%} of them")
    _agreement(console, shares)
    if shares["moved"]:
        console.print(
            "update / weights (adapter), first and last look, early, middle, late layers: "
            f"{_ratios(shares['moved'][0])} … {_ratios(shares['moved'][-1])}"
        )
    _dominators(console, shares)
    _suspects(console, shares)


def _agreement(console: Console, shares: Mapping[str, Any]) -> None:
    series = shares["series"]
    if not series:
        console.print(
            "Shares were not told apart: every update was one micro-batch. Train with gradient accumulation (free), or"
            " with --gradient-shares 20 (each 20th update example by example).",
            soft_wrap=True,
        )
        return
    what = "examples" if shares["grouped"] == 1 else f"micro-batches of up to {shares['grouped']}"
    console.print(f"gradients are of {what}, told apart in {shares['told_apart']} updates\n")
    table = Table(box=None, pad_edge=False)
    for name in ("steps", "consensus", "effective number", "of", "largest share", "after Adam", "noise scale"):
        table.add_column(name, justify="right")
    for part in _parts(series, 6):
        scale = [s["noise_scale"] for s in part if s["noise_scale"]]
        adam = [s["largest_adam"] for s in part if s["largest_adam"] is not None]
        table.add_row(
            f"{part[0]['step']}–{part[-1]['step']}",
            _short(_mean([s["consensus"] for s in part])),
            _short(_mean([s["effective"] for s in part])),
            str(part[0]["gradients"]),
            f"{_mean([s['largest'] for s in part]):.0%}",
            f"{_mean(adam):.0%}" if adam else "",
            f"{scale[-1]:.0f} examples" if scale else "unknown",
        )
    console.print(table)
    console.print(
        "consensus: how much two gradients agree (1: all alike, 0: unrelated); noise scale: the batch from which a"
        " larger one brings little",
        style="dim",
        soft_wrap=True,
    )


def _dominators(console: Console, shares: Mapping[str, Any]) -> None:
    if not shares["series"]:
        return
    if not shares["dominators"]:
        console.print("\nNothing dominated again and again.")
        return
    console.print("\n[bold]What dominated again and again[/]")
    for d in shares["dominators"][:5]:
        console.print(
            f"  {d['times']} times, {d['share']:.0%} of the update on average: examples"
            f" {', '.join(map(str, d['ids'][:6]))}"
        )
        for i in d["ids"][:2]:
            _example(console, shares, i)


def _suspects(console: Console, shares: Mapping[str, Any]) -> None:
    if not shares["suspects"]:
        console.print("\nNo example was seen twice: its history begins with the second epoch.")
        return
    console.print(
        "\n[bold]Read these first[/]: seen again, and still the least likely (wrong answers are among them, if there"
        " are any)"
    )
    rows = {e["id"]: e for e in shares["examples"]}
    for i in shares["suspects"][:8]:
        e = rows[i]
        console.print(
            f"  example {i}: confidence {e['confidence']:.2f} ± {e['variability']:.2f} over {e['visits']} visits,"
            f" forgotten {e['forgotten']} times"
        )
        _example(console, shares, i)


def _example(console: Console, shares: Mapping[str, Any], i: int) -> None:
    texts = shares["texts"].get(i)
    if texts:
        console.print(f"    {_line(texts[0])} → {_line(texts[1])}", style="dim", markup=False, soft_wrap=True)


def adapter_scale(scales: Mapping[str, Any]) -> None:
    """Loss and limited numbers at each scale."""
    console = Console(highlight=False)
    rows = scales["rows"]
    shown = [n for n in rows[0]["numbers"] if any(r["numbers"][n]["verdict"] for r in rows)]
    table = Table(box=None, pad_edge=False)
    table.add_column("of the update")
    for r in rows:
        table.add_column(f"{r['scale']:g}", justify="right", no_wrap=True)
    table.add_row("held-out loss", *(f"{r['loss']:.4f}" for r in rows))
    for n in shown:
        numbers = [r["numbers"][n] for r in rows]
        table.add_row(
            n.replace("_", " "),
            *(f"[{STYLE.get(c['verdict'] or '', 'default')}]{_short(c['value'])}[/]" for c in numbers),
        )
    console.print(table)
    console.print("\n" + scales["sentence"], soft_wrap=True)
    if scales.get("page"):
        console.print(f"Page: {scales['page']}", soft_wrap=True)


def _ratios(row: Mapping[str, Any]) -> str:
    return "/".join(f"{v:.1e}" for v in row["ratio"])


def _parts(series: list[Any], n: int) -> list[list[Any]]:
    size = -(-len(series) // n)
    return [series[i : i + size] for i in range(0, len(series), size)]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _line(text: str) -> str:
    text = " ".join(visible(text).split())
    return text if len(text) <= 90 else text[:87] + "…"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
