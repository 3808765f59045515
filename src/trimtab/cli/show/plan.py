"""Plans, precedents and data reports in the terminal. Takes plain data, prints tables and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trimtab.cli.show.plain import visible
from trimtab.forecasting.result import MARGIN
from trimtab.spec.durations import in_words

GIB = 2**30
FIT = {"fits": "green", "tight": "yellow", "does not fit": "red"}
BARS = 40
WIDE = 130


def plan(planned: Mapping[str, Any]) -> None:
    """Settings with reasons, forecast, risks and what to try next."""
    console = Console(highlight=False)
    for text in planned["warnings"]:
        console.print(Text("! ", "yellow") + Text(text))
    _settings(console, planned["settings"])
    _forecast(console, planned["forecast"])
    if planned["earlier"]:
        console.print("\n[bold]Your earlier studies of this model[/]")
        for row in planned["earlier"]:
            console.print(f"  {row['sentence']}", markup=False)
    if planned["precedents"]:
        console.print("\n[bold]The nearest published recipes[/] (more: trimtab precedents)")
        _recipes(console, planned["precedents"])
    if planned["couplings"]:
        console.print("\n[bold]Risks of these settings together[/] (hypotheses, not verdicts)")
        for c in planned["couplings"]:
            console.print(
                f"  {c['when']}\n    may: {c['may']}; shows in:"
                f" {', '.join(n.removeprefix('curve:') for n, _ in c['shows'])}; {c['sure']}",
                markup=False,
            )
    console.print("\n[bold]Next experiments[/] (each changes one thing of the plan)")
    task = planned["facts"]["task"]
    for e in planned["experiments"]:
        change = ", ".join(f"{k}={v:g}" for k, v in e["changes"].items())
        console.print(f"  {change}: {e['settles']}; {_cost(e, task)}", markup=False)
    if planned["recipe"]:
        f = planned["facts"]
        data = "FILE, as soon as there is one," if str(f["data"]).startswith("sketch:") else f["data"]
        console.print(
            f"\nOr let trimtab walk them: trimtab tune {f['model']} {data} --budget {f['risk']}",
            markup=False,
            soft_wrap=True,
        )


def explained(reasons: Mapping[str, Any], name: str) -> None:
    """Every input of one setting."""
    row = next(r for r in reasons["settings"] if r["setting"] == name)
    console = Console(highlight=False)
    console.print(f"[bold]{name}[/] = {row['value']}")
    for key in ("reason", "source"):
        console.print(f"  {key}: {row[key]}", markup=False)
    if row["range"]:
        console.print(f"  range: {row['range'][0]:g} to {row['range'][1]:g}", markup=False)
    for key, value in row["inputs"]:
        console.print(f"  {key}: {value}", markup=False)
    if name == "learning_rate" and reasons["precedents"]:
        console.print("  the nearest published recipes:")
        _recipes(console, reasons["precedents"])


def precedents(nearest: Mapping[str, Any]) -> None:
    """Quartiles and the nearest published recipes."""
    console = Console(highlight=False)
    console.print(
        f"{nearest['model']}: {nearest['billions']:.3g}B, family {nearest['family'] or 'unknown'}, {nearest['method']},"
        f" {nearest['task']}; {nearest['found']} comparable recipes of {nearest['repositories']} repositories",
        markup=False,
    )
    if not nearest["rows"]:
        return
    table = Table("setting", "25 %", "median", "75 %", title="weighted quartiles", title_justify="left")
    for name, values in nearest["quartiles"].items():
        table.add_row(name, *(f"{v:g}" for v in values))
    console.print(table)
    bands = "/".join(f"{nearest['bands'][b]:g}×" for b in ("50", "80", "90"))
    console.print(f"50/80/90 % of published rates lie within {bands} of a prediction like this one", markup=False)
    if nearest["maker"]:
        console.print("[bold]The model's own makers[/]")
        _recipes(console, [nearest["maker"]])
    console.print("[bold]The nearest[/]")
    _recipes(console, nearest["rows"])


def data(survey: Mapping[str, Any]) -> None:
    """The data report."""
    console = Console(highlight=False)
    sizes = ", ".join(f"{n:,} {split}" for split, n in survey["examples"].items())
    if survey.get("pictures"):
        return _pictures(console, survey, sizes)
    console.print(f"[bold]{survey['name']}[/]: {survey['form']} form, {sizes}")
    for line in _findings(survey):
        console.print(f"  {line}", markup=False)
    kind = "tokens, estimated" if survey["estimated"] else "tokens"
    table = Table("", *(f"{p} %" for p in survey["quantiles"]["all"]), "mean", title=kind, title_justify="left")
    for name, q in survey["quantiles"].items():
        table.add_row(name, *(f"{v:,}" for v in q.values()), f"{survey['mean'][name]:,.0f}")
    console.print(table)
    _histogram(console, survey["histogram"])
    _cutoffs(console, survey)
    for text in survey["advice"]:
        console.print(Text("→ ", "green") + Text(text))
    if d := survey.get("against"):
        _against(console, d)
    how = "First examples as the model sees them" if not survey["estimated"] else "First examples, without a template"
    console.print(f"\n[bold]{how}[/] (what is learned in ⟦green⟧)")
    for pieces in survey["first"]:
        parts = [
            (f"⟦{visible(t[:600])}⟧" if learned else visible(t[:600]) + " ", "green" if learned else "dim")
            for t, learned in pieces
        ]
        console.print(Text.assemble(*parts))
        console.print("─" * BARS, style="dim")


def _pictures(console: Console, survey: Mapping[str, Any], counts: str) -> None:
    console.print(f"[bold]{survey['name']}[/]: {survey['form']}; {counts} pictures ({survey['split']})")
    console.print(f"  {survey['sizes']} pixels", markup=False)
    copies = f"copies: {survey['exact_copies']:,} exact, {survey['near_copies']:,} near"
    leaks = ", ".join(f"{share:.1%} of {split}" for split, share in survey["leakage"].items())
    console.print(f"  {copies}; look like training pictures: {leaks}", markup=False)
    table = Table("label", "training pictures", "")
    most = max(survey["labels"].values())
    for label, n in list(survey["labels"].items())[:40]:
        table.add_row(visible(label), f"{n:,}", "█" * max(1, round(20 * n / most)))
    console.print(table)
    for text in survey["advice"]:
        console.print(Text("→ ", "green") + Text(text))


def _findings(survey: Mapping[str, Any]) -> list[str]:
    lines = []
    if survey["dropped_empty"]:
        lines.append(f"{survey['dropped_empty']:,} rows with an empty prompt or answer are left out")
    n, big = survey["examples"]["train"], survey["largest_copy"]
    lines.append(
        f"copies: {survey['exact_copies']:,} exact, {survey['near_copies']:,} near ({survey['near_copies'] / n:.1%})"
        + (f"; the commonest {big['count']:,} times: {big['text'][:70]!r}" if big and big["count"] > 2 else "")
    )
    for split, share in survey["leakage"].items():
        lines.append(
            f"{'! ' if share > 0.01 else ''}leakage: {share:.1%} of {split} are near copies of training examples"
        )
    cut = survey["cut_answers"]
    lines.append(
        f"answers that look cut: {cut['share']:.1%}"
        + (f" (first: example {cut['first'][0] + 1})" if cut["first"] else "")
    )
    answers = survey["answers"]
    top = ", ".join(f"{text!r} {share:.0%}" for text, share in answers["top"])
    lines.append(f"{answers['distinct']:,} different answers" + (f"; labels: {top}" if top else ""))
    if survey["languages"]:
        lines.append("languages: " + ", ".join(f"{code} {share:.0%}" for code, share in survey["languages"].items()))
    return lines


def _histogram(console: Console, h: Mapping[str, Sequence[float]]) -> None:
    """Prompt and answer lengths side by side; empty ends are left out."""
    edges = h["edges"]
    used = [i for i in range(len(edges) - 1) if h["answer"][i] or h["prompt"][i]]
    if not used:
        return
    top = max(max(h["prompt"]), max(h["answer"]))
    console.print(f"{'tokens':>14}  {'prompt':<22}answer")
    skipped = False
    for i in range(used[0], used[-1] + 1):
        if i not in used:
            if not skipped:
                console.print(f"{'…':>14}")
            skipped = True
            continue
        skipped = False
        bars = [("█" * round(20 * h[k][i] / top) or ("▏" if h[k][i] else "")) for k in ("prompt", "answer")]
        console.print(f"{edges[i] + 1:>6,.0f}–{edges[i + 1]:>6,.0f}  [blue]{bars[0]:<22}[/][green]{bars[1]}[/]")


def _cutoffs(console: Console, survey: Mapping[str, Any]) -> None:
    costs = any(c.get("memory") for c in survey["cutoffs"])
    table = Table("cutoff", "examples cut", "tokens cut", *(["one example by LoRA", "fits"] if costs else []))
    for c in survey["cutoffs"]:
        cells = [f"{c['max_length']:,}", f"{c['cut_examples']:.1%}", f"{c['cut_tokens']:.1%}"]
        if costs:
            cells += _cost_cells(c, survey)
        table.add_row(*cells)
    console.print(table)
    if costs:
        console.print(f"(closed form, on {survey['device']}; trimtab plan traces the one it chooses)", style="dim")


def _cost_cells(cutoff: Mapping[str, Any], survey: Mapping[str, Any]) -> list[str]:
    memory, room = cutoff["memory"], survey["device_memory"]
    if survey["positions"] and cutoff["max_length"] > survey["positions"]:
        return [f"the model ends at {survey['positions']:,}", "no"]
    if not memory or not room:
        return ["unknown", "unknown"]
    return [f"{memory / GIB:.1f} GiB", "yes" if memory * (1 + MARGIN) <= room else "no"]


def _against(console: Console, d: Mapping[str, Any]) -> None:
    console.print(f"\n[bold]Against {d['data']}[/]: {d['level']} – {d['trust']}")
    parts = [f"told apart with AUC {d['auc']:.2f} (p {d['p']:.2f})", f"{d['shared']:.0%} of the sample is the same"]
    parts += [
        f"{name.replace('_', ' ')} {d[name]:.2f}"
        for name in ("prompt_length", "answer_length", "vocabulary", "labels", "languages", "formats")
        if d[name] is not None
    ]
    console.print("  " + "; ".join(parts), markup=False)
    console.print("  (distances from 0 to 1; 10 to 20 % of other data mixed in is not found by this)", style="dim")


def _settings(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """A row each, with the reason beside it; on a narrow terminal below it."""
    table = Table("setting", "value", "range", "why", box=None, pad_edge=False)
    for r in rows:
        value, spread = Text(_value(r["value"]), "bold"), f"{r['range'][0]:g}–{r['range'][1]:g}" if r["range"] else ""
        if console.width >= WIDE:
            table.add_row(r["setting"], value, spread, Text(r["reason"]))
        else:
            console.print(f"{r['setting']:<28}", value, f"  {spread}")
            console.print(Padding(Text(r["reason"], "dim"), (0, 0, 0, 4)))
    if table.row_count:
        console.print(table)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _forecast(console: Console, f: Mapping[str, Any] | None) -> None:
    if f is None:
        return
    m, device = f["memory"], f["device"]
    on = f" of {device['memory'] / GIB:.1f} on {device['name']}: [{FIT[f['fit']]} bold]{f['fit']}[/]" if device else ""
    time = (
        f"; about {in_words(f['duration']['step'] * f['duration']['steps'])}"
        if f["duration"] and f["duration"]["steps"]
        else ""
    )
    console.print(f"\n[bold]Forecast[/] ({f['how']}): {m['used'] / GIB:.1f} GiB{on}{time}")


def _recipes(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    for p in rows:
        batch = f", batch {p['effective_batch']:g}" if p["effective_batch"] else ""
        console.print(
            f"  {p['learning_rate']:g}{batch}: {p['name']} {p['method']} ({p['kind'].replace('_', ' ')},"
            f" {p['licence']})\n    {p['link']}",
            markup=False,
            soft_wrap=True,
        )


def _cost(e: Mapping[str, Any], task: str) -> str:
    amount = f"{e['steps']:,} steps, {_amount(e['tokens'])} {'images' if task == 'image-classification' else 'tokens'}"
    if not e["seconds"]:
        return (
            f"{amount} (time unknown: no speed is known of this device; a card's own name has one, as in --gpu \"RTX"
            ' 4090")'
        )
    middle, low, high = (in_words(s) for s in e["seconds"])
    return f"{amount}, about {middle} ({low} to {high})"


def _amount(tokens: float) -> str:
    if tokens >= 999_500:
        return f"{tokens / 1e6:.1f} M"
    return f"{tokens / 1e3:.0f} thousand" if tokens >= 1000 else f"{tokens:.0f}"
