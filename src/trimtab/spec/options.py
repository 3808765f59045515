"""The options that all studies take, spelled once: the command line makes its flags of these fields, the api takes
the object.

A field's metadata is for the command line: `help`, `flag` where it is not the field's own name, `shown` in place of
the default.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from trimtab.errors import SpecError
from trimtab.spec.budget import Budget
from trimtab.spec.status import LEVELS, Level

DEFAULT_OUT = Path("trimtab-out")
Mode = Literal["fast", "certify"]  # all members in one pass; or each alone, bit for bit as a single run


def _option(default: Any, help: str, **more: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True)
class StudyOptions:
    """Where a study is kept and trained, and the budget (a preset, a file, or one that was read). SpecError with all
    that is wrong."""

    budget: str | Path | Budget | None = _option(
        None, "tight, standard, loose, or a YAML file: a run that leaves it is stopped."
    )
    yes: bool = _option(False, "Start also more than 64 runs.", flag="--yes")
    on: str | None = _option(
        None, "here (this process), local (worker processes), ray, or the address of a Ray cluster."
    )
    workers: int | None = _option(None, "Worker processes; not more than memory holds.", shown=False)
    share_start: bool = _option(
        True,
        "Runs that differ only in length share the first steps that are the same.",
        flag="--share-start/--no-share-start",
    )
    cohort: int | None = _option(None, "Runs trained together over one base, at most; 1: one after another.", shown="8")
    card: Level | None = _option(
        None,
        "Measure a card of every run: pulse, short, card or audit; attribution then knows its numbers.",
        shown=False,
    )
    race: bool = _option(
        True,
        "Stop early what is far behind at half of the steps or later, on the same held-out items.",
        flag="--race/--no-race",
    )
    out: Path = _option(DEFAULT_OUT, "Folder of the store, the weights and the reports.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        problems = where_problems(self.on, self.workers)
        if self.cohort is not None and self.cohort < 1:
            problems.append(f"--cohort: got {self.cohort}; at least 1, which trains runs one after another")
        if self.card not in (None, *LEVELS):
            problems.append(f'--card: got "{self.card}"; allowed are {", ".join(LEVELS)}')
        if problems:
            raise SpecError("trimtab", problems)

    def typed(self) -> list[str]:
        """As options, for the command that gives this study again."""
        budget = self.budget.name if isinstance(self.budget, Budget) else self.budget
        named = {"--budget": budget, "--on": self.on, "--workers": self.workers, "--cohort": self.cohort}
        words = [x for k, v in named.items() if v is not None for x in (k, str(v))]
        words += ["--card", self.card] if self.card else []
        words += [] if self.share_start else ["--no-share-start"]
        words += [] if self.race else ["--no-race"]
        return words + (["--yes"] if self.yes else []) + (["--out", str(self.out)] if self.out != DEFAULT_OUT else [])


def where_problems(on: str | None, workers: int | None = None) -> list[str]:
    """What is wrong with --on and --workers, in sentences: fewer than one, a word that is no place, Ray that is not
    installed."""
    problems = [] if workers is None or workers >= 1 else [f"--workers: got {workers}; at least 1"]
    return problems + _place_problems(on)


def mode_problems(mode: str) -> list[str]:
    """What is wrong with --mode, in a sentence."""
    return [] if mode in get_args(Mode) else [f'--mode: got "{mode}"; allowed are {", ".join(get_args(Mode))}']


def _place_problems(on: str | None) -> list[str]:
    if on in (None, "here", "local"):
        return []
    if on not in ("ray", "auto") and ":" not in str(on):
        return [f'--on: got "{on}"; allowed are here, local, ray, or the address of a Ray cluster, host:port']
    missing = find_spec("ray") is None
    return ["--on: Ray is missing; pip install 'trimtab[ray]', or leave --on out"] if missing else []
