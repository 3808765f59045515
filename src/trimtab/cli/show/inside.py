"""The ladder of remedies in the terminal. Takes the result as data, prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from trimtab.spec.durations import in_words


def ladder(result: Mapping[str, Any]) -> None:
    """What was tried, cheapest first, and what is recommended."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, title=result["question"], title_justify="left", title_style="bold")
    for name in ("remedy", "gain [95 %]", "of the gain", "training", "budget"):
        table.add_column(name, justify="left" if name in ("remedy", "budget") else "right")
    best = result["recommended"] and result["recommended"]["run"]
    _row(table, result["start"], best)
    for rung in result["rungs"]:
        if rung["note"]:
            table.add_row(rung["title"], "", "", "", rung["note"], style="dim")
        for row in rung["rows"]:
            _row(table, row, best)
    console.print(table)
    console.print(f"\n[bold]{result['sentence']}[/]")
    if page := result.get("report"):
        console.print(f"\nReport: {page}", markup=False)
        if best:
            console.print("adapter/ and recipe.yaml beside it are what is recommended, ready to use.", markup=False)
    if command := result.get("next"):
        why = "to see its answers blind beside the base's" if best else "goes on with what there was no time for"
        console.print(f"Next: {command} ({why})", markup=False)


def _row(table: Table, row: Mapping[str, Any], best: str | None) -> None:
    gain, kept = row["gain"], row["kept"]
    told = f"{gain['value']:+.1%} [{gain['low']:+.1%}, {gain['high']:+.1%}]" if gain else ""
    table.add_row(
        f"{'→ ' if best and row['run'] == best else '  '}{row['what']}",
        told,
        f"{kept:.0%}" if kept is not None else "",
        in_words(row["seconds"]) if row.get("seconds") else "",
        _budget(row),
    )


def _budget(row: Mapping[str, Any]) -> str:
    if not row["run"]:
        return "[dim]not well inside, nor is a share of it[/]"
    if not row["numbers"] and row["gain"] and row["gain"]["value"] <= 0:
        return "[dim]not asked: gains nothing[/]"
    if not row["numbers"]:
        return "[dim]not asked: another gained as much[/]"
    if row["inside"]:
        return "[green]inside[/]"
    broken = [f"{k} {n['verdict']}" for k, n in row["numbers"].items() if n["hard"] and n["verdict"] != "PASS"]
    return ", ".join(broken)
