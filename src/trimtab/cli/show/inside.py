"""The ladder of remedies in the terminal. Takes the result as data, prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def ladder(result: Mapping[str, Any]) -> None:
    """What was tried, cheapest first, and what is recommended."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, title=result["question"], title_justify="left", title_style="bold")
    for name, side in (("remedy", "left"), ("gain [95 %]", "right"), ("of the gain", "right"), ("budget", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    best = result["recommended"] and result["recommended"]["run"]
    _row(table, result["start"], best)
    for rung in result["rungs"]:
        if rung["note"]:
            table.add_row(rung["title"], "", "", rung["note"], style="dim")
        for row in rung["rows"]:
            _row(table, row, best)
    console.print(table)
    console.print(f"\n[bold]{result['sentence']}[/]")
    if page := result.get("report"):
        console.print(f"\nReport: {page}", markup=False)


def _row(table: Table, row: Mapping[str, Any], best: str | None) -> None:
    gain, kept = row["gain"], row["kept"]
    told = f"{gain['value']:+.1%} [{gain['low']:+.1%}, {gain['high']:+.1%}]" if gain else ""
    table.add_row(
        f"{'→ ' if best and row['run'] == best else '  '}{row['what']}",
        told,
        f"{kept:.0%}" if kept is not None else "",
        _budget(row),
    )


def _budget(row: Mapping[str, Any]) -> str:
    if not row["run"]:
        return "[dim]no share of it is well inside[/]"
    if not row["numbers"] and row["gain"] and row["gain"]["value"] <= 0:
        return "[dim]not asked: gains nothing[/]"
    if not row["numbers"]:
        return "[dim]not asked: another gained more[/]"
    if row["inside"]:
        return "[green]inside[/]"
    broken = [f"{k} {n['verdict']}" for k, n in row["numbers"].items() if n["hard"] and n["verdict"] != "PASS"]
    return ", ".join(broken)
