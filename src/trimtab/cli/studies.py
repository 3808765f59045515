"""Results of studies in the terminal. Takes plain data, prints tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from trimtab.cli.plain import visible

_STYLE = {"better": "green", "worse": "red", "cannot tell yet": "yellow"}


def result(found: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{found['study']}[/]: {found['question']}\n")
    table = Table(box=None, pad_edge=False)
    for name in ("", "validation loss", "by seed", "against the first, 95 %", "drift", "verdict"):
        table.add_column(name, justify="left" if name in ("", "verdict") else "right")
    for row in found["cells"]:
        table.add_row(*_cells(row))
    console.print(table)
    for text in found["held"]:
        console.print(f"! {text}", style="yellow", soft_wrap=True)
    for r in found["refused"]:
        console.print(f"! not run: {r['cell']} {r['why']}", style="yellow", soft_wrap=True, markup=False)
    console.print(f"\n{found['sentence']}", soft_wrap=True, markup=False)


def _cells(r: Mapping[str, Any]) -> tuple[str, ...]:
    a = r["against"]
    span = (
        f"{a['value']:+.3f}" + (f" \\[{a['low']:+.3f}, {a['high']:+.3f}]" if a["low"] is not None else "") if a else ""
    )
    seeds = " ".join(f"{v:.3f}" if v is not None else "–" for v in r["losses"]) if len(r["losses"]) > 1 else ""
    verdict = f"[{_STYLE[a['verdict']]}]{a['verdict']}[/]" if a else ""
    stopped = "; ".join(dict.fromkeys(r["breach"]))
    loss = f"{r['mean']:.3f}" if r["mean"] is not None else ", ".join(dict.fromkeys(map(str, r["status"])))
    return (
        visible(r["cell"]), loss, seeds, span, f"{r['kl']:.3f}" if r["kl"] is not None else "",
        verdict + (f" [dim]{a['need']}[/]" if a and a["need"] else "") + (f" [red]{visible(stopped)}[/]" if stopped else ""),
    )  # fmt: skip
