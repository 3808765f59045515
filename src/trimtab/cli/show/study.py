"""Results of studies in the terminal. Takes plain data, prints tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from trimtab.cli.show.plain import visible

WIDE = 100  # columns of a terminal that has room for the loss of every seed
_STYLE = {"better": "green", "worse": "red", "cannot tell yet": "yellow"}


def result(study: Mapping[str, Any]) -> None:
    """A designed study's cells; of a search its trials, of a path its steps."""
    if study["kind"] == "search":
        return searched(study)
    if study["kind"] == "path":
        return walked(study)
    if study["kind"] == "inside":
        from trimtab.cli.show.inside import ladder

        return ladder(study)
    console = Console(highlight=False)
    console.print(f"[bold]{study['study']}[/]: {study['question']}\n")
    table = Table(box=None, pad_edge=False)
    moved = study.get("moved", [])
    wide = console.width >= WIDE
    for name in (
        "",
        *moved,
        "validation loss, 95 %",
        *(["by seed"] if wide else []),
        f"against the first, {100 * (1 - study.get('alpha', 0.05)):.3g} %",
        "drift",
        "verdict",
    ):
        table.add_column(name, justify="left" if name in ("", "verdict") else "right", overflow="fold")
    for row in study["cells"]:
        name, loss, seeds, *rest = _cells(row)
        table.add_row(
            name, *(f"{row[k]:g}" if row.get(k) else "" for k in moved), loss, *([seeds] if wide else []), *rest
        )
    console.print(table)
    words = study["words"]
    console.print(
        f"Losses in {words['unit']}" + (f", drift in {words['drift']}" if words["drift"] else ""), style="dim"
    )
    if any((r.get("interval") or {}).get("over") == "items" for r in study["cells"]):
        console.print("One seed: intervals of a loss are over the held-out items alone", style="dim")
    if sum(r["against"] is not None for r in study["cells"]) > 1:
        console.print("Verdicts allow for several comparisons at once (Holm), intervals do not", style="dim")
    for text in study["held"]:
        console.print(f"! {text}", style="yellow", soft_wrap=True)
    for r in study["refused"]:
        console.print(f"! not run: {r['cell']} {r['why']}", style="yellow", soft_wrap=True, markup=False)
    console.print(f"\n{study['sentence']}", soft_wrap=True, markup=False)


def searched(study: Mapping[str, Any], most: int = 12) -> None:
    """The best trials first; ✓ the best inside the budget, ◆ on the front of loss against drift."""
    console = Console(highlight=False)
    rows = sorted(study["trials"], key=lambda r: (r["loss"] is None, r["loss"] or 0.0))
    console.print(f"[bold]{study['study']}[/]: {study['question']} ({study['sampler']})\n")
    table = Table(box=None, pad_edge=False)
    for name in ("", *(rows[0]["params"] if rows else ()), "validation loss", "drift", "end"):
        table.add_column(name, justify="right" if name else "left")
    for r in rows[:most]:
        sign = "✓" if study["best"] and r["run"] == study["best"]["run"] else "◆" if r["run"] in study["front"] else ""
        values = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in r["params"].values())
        end = "outside the budget" if not r["inside"] else str(r["status"])
        table.add_row(
            sign,
            *values,
            f"{r['loss']:.3f}" if r["loss"] is not None else "–",
            f"{r['drift']:.3f}" if r["drift"] is not None else "",
            end,
        )
    console.print(table)
    if len(rows) > most:
        console.print(f"… and {len(rows) - most} more", style="dim")
    if rows:
        console.print(
            "✓ the best (inside the budget, if one was given), ◆ no other has both less loss and less drift",
            style="dim",
        )
    console.print(f"\n{study['sentence']}", soft_wrap=True, markup=False)


def walked(study: Mapping[str, Any]) -> None:
    """The steps from one run to the other, in the order that lowers the loss soonest."""
    console = Console(highlight=False)
    console.print(f"[bold]{study['study']}[/]: {study['question']}\n")
    table = Table(box=None, pad_edge=False)
    for name in ("change", "validation loss", "step, 95 % over items", "run"):
        table.add_column(name, justify="right" if name[0] in "vs" else "left")
    table.add_row("(the first)", f"{study['steps'][0]['from']:.3f}", "", study["runs"][0])
    for r in study["steps"]:
        s = r["step"]
        span = f"{s['value']:+.3f} \\[{s['low']:+.3f}, {s['high']:+.3f}]" if s else f"{r['loss'] - r['from']:+.3f}"
        to = f"{r['to']:g}" if isinstance(r["to"], float) else str(r["to"])
        table.add_row(f"{r['setting']} {visible(to)}", f"{r['loss']:.3f}", span, r["run"])
    console.print(table)
    console.print(f"\n{study['sentence']}", soft_wrap=True, markup=False)


def listed(rows: Sequence[Mapping[str, Any]]) -> None:
    """A study a line."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("study", "state", "runs", "answer"):
        table.add_column(name, justify="right" if name == "runs" else "left", overflow="fold")
    for r in rows:
        table.add_row(r["study"], str(r["status"]), f"{r['finished']}/{r['runs']}", visible(r["sentence"]))
    console.print(table)


def _cells(r: Mapping[str, Any]) -> tuple[str, ...]:
    a = r["against"]
    span = (
        f"{a['value']:+.3f}" + (f" \\[{a['low']:+.3f}, {a['high']:+.3f}]" if a["low"] is not None else "") if a else ""
    )
    seeds = " ".join(f"{v:.3f}" if v is not None else "–" for v in r["losses"]) if len(r["losses"]) > 1 else ""
    verdict = f"[{_STYLE[a['verdict']]}]{a['verdict']}[/]" if a else ""
    stopped = "; ".join(dict.fromkeys(r["breach"]))
    own = r.get("interval")
    loss = f"{r['mean']:.3f}" if r["mean"] is not None else ", ".join(dict.fromkeys(map(str, r["status"])))
    loss += f" \\[{own['low']:.3f}, {own['high']:.3f}]" if own and r["mean"] is not None else ""
    return (
        visible(r["cell"]),
        loss,
        seeds,
        span,
        f"{r['drift']:.3f}" if r["drift"] is not None else "",
        verdict
        + (f" [dim]{a['need']}[/]" if a and a["need"] else "")
        + (f" [red]{visible(stopped)}[/]" if stopped else ""),
    )


def attributed(attribution: Mapping[str, Any]) -> None:
    """A heat map of shares in text: numbers by settings, couplings and the seed."""
    console = Console(highlight=False)
    console.print(f"[bold]{attribution['study']}[/]: share of each number's variance over the ranges that were tried\n")
    names = list(dict.fromkeys(" × ".join(s["names"]) for row in attribution["rows"] for s in row["shares"]))
    shown = [
        n for n in names if n == "seed" or " × " not in n or any(_share(r, n) >= 0.05 for r in attribution["rows"])
    ]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in shown:
        table.add_column(name, justify="right")
    for row in (
        r for r in attribution["rows"] if r["shares"] and _low(r, "seed") < 1
    ):  # what never changed has nothing to share
        table.add_row(row["number"], *(_heat(_share(row, n)) for n in shown))
    if shown:
        console.print(table)
    for text in dict.fromkeys(
        row["sentence"] if row["effects"] else row["why"] or row["sentence"] for row in attribution["rows"]
    ):
        console.print(text, soft_wrap=True, markup=False)
    if len(attribution["rows"]) > 1:
        console.print(
            f"Corrected for the {len(attribution['rows'])} numbers looked at (Benjamini-Hochberg, 5 %).", style="dim"
        )
    for text in dict.fromkeys(t for row in attribution["rows"] for t in row["aliased"]):
        console.print(f"! {text}", style="yellow", soft_wrap=True, markup=False)
    for run in attribution["next"]:
        console.print(f"→ {run['sentence']}", soft_wrap=True, markup=False)


def _share(row: Mapping[str, Any], name: str) -> float:
    return next((s["value"] for s in row["shares"] if " × ".join(s["names"]) == name), 0.0)


def _low(row: Mapping[str, Any], name: str) -> float:
    return next((s["low"] for s in row["shares"] if " × ".join(s["names"]) == name), 0.0)


def _heat(share: float) -> str:
    style = "bold" if share >= 0.3 else "dim" if share < 0.05 else ""
    text = f"{share:.0%} {'█' * round(share * 5)}"
    return f"[{style}]{text}[/]" if style else text
