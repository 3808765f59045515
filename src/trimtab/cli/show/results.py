"""Results as terminal tables. Takes data, prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from trimtab.cli.show.plain import STYLE, visible
from trimtab.planning.remedies import held_by
from trimtab.spec.status import Status
from trimtab.store import RunRow


def recommendation(result: Mapping[str, Any]) -> None:
    """What a tune ended in, to be read aloud: what is recommended, gain, verdict, what is not known, what is next."""
    from trimtab.tuning.summary import recommended_in_words, seed_in_words, seeds_counted

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]{visible(recommended_in_words(result))}[/]")
    gain = result["gain"]
    span = (
        f" [{gain['low']:+.1%}, {gain['high']:+.1%}]"
        if gain["low"] is not None
        else " (no interval: one seed, or nothing moved)"
    )
    verdict = str(result["verdict"])
    seeds, counted = len(result["runs"]), seeds_counted(result)
    some = f"{counted} of {seeds} seeds: the first chose" if counted < seeds else f"{seeds} seeds"
    over = f" (mean of {some})" if seeds > 1 else ""
    console.print(
        f"{result['metric_title']}: {_baseline(result)} {result['base']:.1%}, tuned {result['tuned']:.1%}{over}; gain"
        f" {gain['value']:+.1%}",
        span,
        sep="",
        markup=False,
    )
    if seeds > 1:
        seed = result["recipe"]["seed"]
        console.print(
            f"Handed over: {seed_in_words(result)} by validation loss (seed {seed}), {result['handed_over']:.1%}"
        )
    console.print(f"Verdict against the budget: [{STYLE[verdict]} bold]{verdict}[/]{_open(result.get('limits', {}))}")
    console.print(f"Not known: {_unknown(result)}", markup=False)
    console.print(f"Next: {_next(result)}", markup=False)
    console.print(f"Report: {result['report']}", markup=False)


def _answers_in_words(result: Mapping[str, Any]) -> bool:
    return result.get("baseline", "untouched") == "untouched"


def _baseline(result: Mapping[str, Any]) -> str:
    known = result.get("baseline", "untouched")
    return "base" if known == "untouched" else str(known)


def _open(limits: Mapping[str, Sequence[str]]) -> str:
    told = [f"{state.lower()}: {', '.join(names)}" for state, names in limits.items() if names]
    return f" ({'; '.join(told)})" if told else ""


def _unknown(result: Mapping[str, Any]) -> str:
    """What the result does not say, in a line."""
    seeds = len(result["runs"])
    told = [f"the verdict of other seeds than {result['recipe']['seed']}"] if seeds > 1 else ["what other seeds give"]
    asked = ["what the card's prompts do not ask"] if _answers_in_words(result) else []
    return "; ".join([*told, "what requests give that are unlike the data", *asked])


def _next(result: Mapping[str, Any]) -> str:
    """The one command that helps most from here."""
    from trimtab.tuning.summary import needs_no_tuning, way_inside

    run = result["run"]
    if result["standing"] in ("recommended", "caution") and not _answers_in_words(result):
        return f'trimtab predict {run} "a text"; adapter/ or model/ beside the report is ready to use'
    if result["standing"] in ("recommended", "caution"):
        return f"trimtab review {run} (its answers blind beside the base's); adapter/ beside the report is ready to use"
    if result["standing"] in ("outside", "not shown") and "free" not in result:
        walked = "rungs" in (result.get("inside") or {})
        wider = "a wider budget (trimtab budget show loose), or other data; no remedy brought it inside"
        return wider if walked else f"{way_inside(result)} (looks for a way inside the budget, and says its price)"
    if result["standing"] == "unconfirmed":
        return "the same command with a longer --time: three seeds confirm it"
    if needs_no_tuning(result):
        return "more examples, or use the probe: a linear classifier on what the frozen model makes of each example"
    return "read the answers side by side in the report: other or more examples may be needed"


def explained(explanation: Mapping[str, Any]) -> None:
    """Decision by decision: the question, the sentence, and what it was decided on."""
    console = Console(highlight=False)
    console.print(f"[bold]{explanation['study']}[/] ({explanation['status']})")
    for step in explanation["steps"]:
        console.print(f"\n[bold]{step['title']}[/]")
        console.print(step["sentence"], soft_wrap=True, markup=False)
        if step["table"]:
            console.print(_evidence(step))


def _evidence(step: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (step["setting"], "validation loss", "against the kept one, one seed, 95 % of items", "drift", "end"):
        table.add_column(name, justify="left" if name in (step["setting"], "end") else "right")
    for row in step["table"]:
        gap = f"{row['gap']:+.3f} \\[{row['low']:+.3f}, {row['high']:+.3f}]" if row["gap"] is not None else ""
        gap += f" at {row['share']:.0%}" if gap and row["share"] is not None else ""
        kept = f"[bold]{row[step['setting']]} ✓[/]" if row["kept"] else str(row[step["setting"]])
        end = f"{row['status']}: {visible(row['note'])}" if row["note"] else str(row["status"])
        table.add_row(kept, f"{row['loss']:.3f}", gap, _short(row["drift"]), end)
    return table


def runs(rows: Sequence[RunRow]) -> None:
    """A run a line, with why it ended."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 200)  # a file or a pipe has no edge
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True, min_width=max((len(r.id) for r in rows), default=3))
    held = [held_by(r.recipe) for r in rows]
    more = ["besides"] if any(held) else []
    for name in ("status", "rate", "batch", "epochs", "seed", *more, "steps", "validation", "study", "why it ended"):
        number = name in ("rate", "batch", "epochs", "seed", "steps", "validation")
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for r, held_so in zip(rows, held, strict=True):
        best = r.result.get("best_loss")
        table.add_row(
            r.id,
            str(r.status),
            f"{r.recipe.learning_rate:g}",
            str(r.recipe.effective_batch),
            "" if r.recipe.max_steps > 0 else f"{r.recipe.num_train_epochs:g}",
            str(r.recipe.seed),
            *([held_so] if more else []),
            f"{r.result.get('step', 0)}/{r.total_steps or '?'}",
            f"{best:.4f}" if best is not None else "",
            r.study or "",
            r.reason
            or (
                ""
                if r.status != Status.RUNNING
                else "not yet: still going, or interrupted; its command goes on with it"
            ),
        )
    console.print(table)


def comparison(compared: Mapping[str, Any]) -> None:
    """Two runs side by side."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("", *compared["runs"]):
        table.add_column(name, justify="left" if not name else "right")
    for key, values in compared["settings"].items():
        table.add_row(key, *(str(v) for v in values))
    table.add_row("validation loss", *(f"{v:.4f}" for v in compared["loss"]))
    if compared["words"]["drift"]:
        table.add_row(f"drift, {compared['words']['drift']}", *(_short(v) for v in compared["drift"]))
    for key, row in compared["task"].items():
        table.add_row(key, *(f"{v:.1%}" for v in row["values"]))
    console.print(table)
    console.print("\n" + compared["sentence"], markup=False)


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
