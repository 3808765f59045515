"""Forecasts in the terminal: a stacked bar against the card, a table of terms, time; solutions and residuals.
Prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trimtab.forecasting.result import shown_parts
from trimtab.spec.durations import in_words

GIB = 2**30
COLOURS = {
    "weights": "blue", "adapter": "cyan", "optimizer": "magenta", "gradients": "yellow", "activations": "green",
    "logits and loss": "red", "backward": "bright_red", "optimizer step": "bright_magenta", "kernels": "bright_yellow",
    "workspace": "bright_black", "communication": "bright_cyan", "cached, unused": "grey50", "context": "grey37",
}  # fmt: skip
STYLE = {"fits": "green", "tight": "yellow", "does not fit": "red"}
WIDTH = 60


def forecast(f: Mapping[str, Any]) -> None:
    """A forecast: its bar, its terms, the verdict and the time."""
    console = Console(highlight=False, soft_wrap=True)
    m, w, device = f["memory"], f["workload"], f["device"]
    size = f"{f['model']['parameters'] / 1e9:.2f} B parameters" if f["model"]["parameters"] else "size unknown"
    trained = f", {f['model']['trainable'] / 1e6:.1f} M trained" if f["model"]["trainable"] else ""
    console.print(
        f"{f['model']['name']} ({size}{trained}): {w['task']}, {w['method']}, {_unit(w)} {w['max_length']}, "
        f"micro-batch {w['per_device_train_batch_size']}, accumulation {w['gradient_accumulation_steps']},"
        f" {w['optim']}",
        markup=False,
    )
    parts = shown_parts(m)
    console.print(_bar(parts, device["memory"] if device else None))
    for name, taken in parts.items():
        console.print(Text("  ■ ", COLOURS.get(name, "white")) + Text(f"{name:<16} {taken / GIB:8.2f} GiB"))
    console.print(
        f"  allocated {m['allocated'] / GIB:.2f} GiB at its peak{' (' + m['at'] + ')' if m['at'] else ''}", markup=False
    )
    if w["device"] == "cuda":
        console.print(
            f"  reserved {m['reserved'] / GIB:.2f} GiB ({m['reserved_expandable'] / GIB:.2f} with"
            f" expandable_segments:True); with the context {m['used'] / GIB:.2f} GiB",
            markup=False,
        )
    for name in ("evaluation", "generation"):
        if m[name]:
            console.print(f"  {name} {m[name] / GIB:.2f} GiB", markup=False)
    if device:
        per = f" each of {w['devices']} devices" if w["devices"] > 1 else ""
        console.print(
            f"On {device['name']} ({device['memory'] / GIB:.1f} GiB{per}): [{STYLE[f['fit']]} bold]{f['fit']}[/]"
            f" (margin {f['margin']:.0%})"
            + (
                ": only without the margin, or while the allocator gives cached memory back"
                if f["fit"] == "tight"
                else ""
            )
        )
    _time(console, f)
    console.print(f"Basis: {f['how']}; {f['sure']}. " + _versions(f["versions"]), markup=False, style="dim")
    for note in f["notes"]:
        console.print(f"Note: {note}", markup=False, style="dim")


def _unit(w: Mapping[str, Any]) -> str:
    return "pixels" if w["task"] == "image-classification" else "cutoff"


def _bar(parts: Mapping[str, int], capacity: int | None) -> Text:
    """One cell is a sixtieth of the larger of the card and what is needed; a bar marks the card's end."""
    whole = max(sum(parts.values()), capacity or 0)
    text, ends = Text("  "), 0.0
    cells: list[str] = []
    for name, size in parts.items():
        ends += size / whole * WIDTH
        cells += [COLOURS.get(name, "white")] * (round(ends) - len(cells))
    for i in range(WIDTH):
        if capacity and i == min(WIDTH - 1, round(capacity / whole * WIDTH)) and sum(parts.values()) > capacity:
            text.append("┃", "bold red")
        text.append("█" if i < len(cells) else "·", cells[i] if i < len(cells) else "grey37")
    if capacity and sum(parts.values()) <= capacity:
        text.append("┃", "bold")
    return text.append(f" {sum(parts.values()) / GIB:.1f}" + (f" of {capacity / GIB:.1f} GiB" if capacity else " GiB"))


def _time(console: Console, f: Mapping[str, Any]) -> None:
    d = f["duration"]
    if d is None:
        console.print(
            "Time: unknown; the speed of this device is not known (run trimtab forecast --calibrate on it)",
            markup=False,
        )
        return
    text = f"Time: {_short(d['step'])} a step ({_short(d['low'])} to {_short(d['high'])})"
    if d["steps"]:
        w, total = f["workload"], d["step"] * d["steps"]
        epoch = "" if w["max_steps"] > 0 else f"{in_words(total / w['num_train_epochs'], 1)} an epoch, "
        text += f"; {d['steps']} steps, {epoch}{in_words(total, 1)} in all"
    console.print(f"{text}; from {d['basis']}", markup=False)


def _short(seconds: float) -> str:
    if seconds >= 100:
        return in_words(seconds)
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _versions(installed: Mapping[str, str]) -> str:
    return "With " + ", ".join(f"{k} {v}" for k, v in installed.items() if k != "trimtab") + "."


def solution(solved: Mapping[str, Any]) -> None:
    """The largest that fits; exit code 1 where nothing does."""
    console = Console(highlight=False, soft_wrap=True)
    if solved["what"] == "method":
        return _options(console, solved)
    at, above = solved["at"], solved["above"]
    device = f"{at['device']['name']} ({at['device']['memory'] / GIB:.1f} GiB)"
    name = {"per_device_train_batch_size": "micro-batch", "max_length": "cutoff"}[solved["what"]]
    if solved["value"] is None:
        console.print(
            f"No {name} fits on {device}: the smallest needs {_used(at)}. `--solve method` shows what is cheaper."
        )
        raise SystemExit(1)
    console.print(f"Largest {name} on {device}: [bold]{solved['value']}[/], {_used(at)}")
    if above:
        console.print(f"The next larger, {above['workload'][solved['what']]}, needs {_used(above)}: {above['fit']}")
    console.print(f"({solved['tried']} forecasts, {at['how']})", style="dim")
    return None


def _used(f: Mapping[str, Any]) -> str:
    return f"{f['memory']['used'] / GIB:.2f} GiB"


def _options(console: Console, solved: Mapping[str, Any]) -> None:
    if not console.is_terminal:
        console.width = max(console.width, 120)
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("change", "left"),
        ("allocated GiB", "right"),
        ("on the card GiB", "right"),
        ("saves GiB", "right"),
        ("time", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    first = solved["rows"][0]
    for r in solved["rows"]:
        time = f"×{r['step'] / first['step']:.2f}" if r["step"] and first["step"] else ""
        fit = f"[{STYLE[r['fit']]}]{r['fit']}[/]" if r["fit"] else ""
        closed = "" if r["how"] == "traced" else f" ({r['how']})"
        saves = f"{r['saved'] / GIB:.2f}" if r["changes"] else ""
        table.add_row(r["option"] + closed, f"{r['allocated'] / GIB:.2f}", f"{r['used'] / GIB:.2f}", saves, time, fit)
    console.print(table)


def calibration(probed: Mapping[str, Any]) -> None:
    """What the probe found."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{probed['name']} ({probed['device']}), {probed['date']}", markup=False)
    for kind, speed in probed["speed"].items():
        console.print(f"  {kind:<9} {speed / 1e12:8.3f} TFLOP/s")
    for name in ("context", "workspace"):
        if name in probed:
            console.print(f"  {name:<9} {probed[name] / 2**20:8.1f} MiB")
    console.print("Kept for later forecasts on this machine.")


def residuals(rows: Sequence[Mapping[str, Any]]) -> None:
    """Predicted against measured, a run a line."""
    console = Console(highlight=False)
    if not rows:
        console.print("No run here has been measured yet; trimtab train and trimtab tune store predicted and measured.")
        return
    if not console.is_terminal:
        console.width = max(console.width, 150)  # a file or a pipe has no edge
    table = Table(box=None, pad_edge=False)
    for name in (
        "run",
        "device",
        "allocated GiB",
        "measured",
        "error",
        "reserved GiB",
        "measured",
        "error",
        "s/step",
        "measured",
        "error",
    ):
        table.add_column(name, justify="left" if name in ("run", "device") else "right", no_wrap=True)
    for r in rows:
        cells = [
            c for key, unit in (("allocated", GIB), ("reserved", GIB), ("seconds", 1)) for c in _three(r[key], unit)
        ]
        table.add_row(r["run"], str(r["device"]), *cells)
    console.print(table)
    for r in rows:
        if r["other_versions"]:
            was = ", ".join(f"{k} {v}" for k, v in r["other_versions"].items())
            console.print(f"{r['run']} was forecast and measured with other versions: {was}", markup=False)


def _three(v: Mapping[str, float | None], unit: float) -> list[str]:
    numbers = [f"{v[k] / unit:.3g}" if v[k] is not None else "–" for k in ("predicted", "measured")]  # type: ignore[operator]
    return [*numbers, f"{v['error']:+.2%}" if v["error"] is not None else "–"]


def catalogue(names: Sequence[Mapping[str, Any]]) -> None:
    """Names and sizes, a line each."""
    console = Console(highlight=False, soft_wrap=True)
    for row in names:
        console.print("  ".join(str(v) for v in row.values()), markup=False)
