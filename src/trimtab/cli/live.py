"""What is happening now: a row for each run of the cohort on a terminal, plain lines elsewhere. Takes the worker's
words, prints."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from trimtab.planning.remedies import held_by
from trimtab.spec.durations import in_words
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import words_of

_BARS = "▁▂▃▄▅▆▇█"


@dataclass
class LiveRow:
    """A run as it is shown."""

    settings: str
    total: int
    step: int = 0
    losses: list[float] = field(default_factory=list)
    evaluation: float | None = None
    drift: float | None = None
    drift_unit: str = ""


class Live:
    """A watcher. On a terminal: a table of runs that refreshes, or what is being waited for and since when, so that
    nothing is silent. Without one (CI, a file): notes and evaluations as lines. `limit`: seconds that this call may
    take, of which it shows the share that is used."""

    def __init__(self, quiet: bool = False, console: Console | None = None, limit: float | None = None):
        self.quiet, self.limit = quiet, limit
        self.console = console or Console(stderr=quiet, highlight=False)
        self.rows: dict[str, LiveRow] = {}
        self.began = time.monotonic()
        self.cohort_began = self.began
        self.waiting, self.waiting_since = "Starting", self.began
        self._live: RichLive | None = None

    def __enter__(self) -> Live:
        if self.console.is_terminal and not self.quiet:
            self._live = RichLive(
                console=self.console, refresh_per_second=2, transient=True, get_renderable=self.screen
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        if kind is KeyboardInterrupt:
            self.note("Stopped by you; the same command continues where it was")

    def cohort(self, recipes: Sequence[Recipe], steps: Mapping[str, int]) -> None:
        known, moved = self.rows, differing(recipes)
        new = [r for r in recipes if r.run_id not in known]
        made = {
            r.run_id: LiveRow(describe(r, moved), steps[r.run_id], drift_unit=words_of(r.task).drift_unit)
            for r in recipes
        }
        self.rows = {run: known.get(run, row) for run, row in made.items()}
        self.cohort_began = time.monotonic()
        if new and not self._live:
            self.note("Training " + "; ".join(f"{r.run_id} ({self.rows[r.run_id].settings})" for r in new))

    def step(self, run: str, numbers: Mapping[str, Any]) -> None:
        row = self.rows[run]
        if "evaluation" in numbers:
            row.evaluation, row.drift = numbers["evaluation"], numbers["drift"]
            if self._live is None:
                drift = "" if row.drift is None else f", drift {row.drift:.3f} {row.drift_unit}"
                self.note(f"{run} step {row.step}/{row.total}: validation loss {row.evaluation:.3f}{drift}")
        else:
            row.step = numbers["step"]
            row.losses.append(numbers["loss"])

    def note(self, text: str) -> None:
        self.waiting, self.waiting_since = text, time.monotonic()
        if not self.quiet:
            minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
            self.console.print(Text.assemble((f"{minutes:2d}:{seconds:02d}", "dim"), f"  {text}"), soft_wrap=True)

    def done(self) -> None:
        self.rows = {}

    def screen(self) -> Table | Text:
        """The runs that are being trained; else what the last line is about, and for how long already."""
        if self.rows:
            return self.table()
        since = time.monotonic() - self.waiting_since
        words = self.waiting if len(self.waiting) <= 60 else self.waiting[:59] + "…"
        return Text(f"       {words} · {since:.0f} s{self.used()}", style="dim")

    def table(self) -> Table:
        table = Table(
            box=None,
            pad_edge=False,
            title=f"{len(self.rows)} runs over one base · {self.eta()}{self.used()}",
            title_justify="left",
        )
        for name in ("run", "settings", "step", "training loss", "validation", "drift"):
            table.add_column(name, justify="right" if name in ("step", "validation", "drift") else "left", no_wrap=True)
        for run, row in self.rows.items():
            table.add_row(
                run,
                row.settings,
                f"{row.step}/{row.total}",
                f"{sparkline(row.losses)} {row.losses[-1]:.3f}" if row.losses else "",
                _number(row.evaluation),
                _number(row.drift),
            )
        return table

    def used(self) -> str:
        """The share of the time that this call may take; nothing where there is no limit."""
        if not self.limit:
            return ""
        return f" · {(time.monotonic() - self.began) / self.limit:.0%} of {in_words(self.limit)} used"

    def eta(self) -> str:
        done, total = sum(r.step for r in self.rows.values()), sum(r.total for r in self.rows.values())
        if not done:
            return "starting"
        left = (time.monotonic() - self.cohort_began) * (total - done) / done
        return f"{left / 60:.0f} min left" if left > 90 else f"{left:.0f} s left"


# told of every run
ALWAYS = (
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
    "seed",
)


def differing(recipes: Sequence[Recipe]) -> list[str]:
    """Settings that these runs differ in, besides those that are told of every run."""
    known = [r.model_dump() for r in recipes]
    return [k for k in (known[0] if known else ()) if k not in ALWAYS and any(d[k] != known[0][k] for d in known)]


def describe(recipe: Recipe, also: Sequence[str] = ()) -> str:
    more = "".join(f", {k} {getattr(recipe, k)}" for k in also)
    if not also and (held := held_by(recipe)):
        more = f", {held}"
    return f"rate {recipe.learning_rate:g}, batch {recipe.effective_batch}, {recipe.length}{more}, seed {recipe.seed}"


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """The last stretch of a curve in one line of text; thinned to `width` means."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    means = [sum(part) / len(part) for i in range(0, len(values), size) if (part := values[i : i + size])]
    low, high = min(means), max(means)
    return "".join(_BARS[round((m - low) / (high - low or 1) * (len(_BARS) - 1))] for m in means)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
