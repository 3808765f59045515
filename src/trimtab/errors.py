"""Everything that can go wrong, as one tree. Takes nothing, imports nothing.

TrimtabError                 anything trimtab says on purpose
├── InputError               the person can mend it: one sentence, exit code 2
│   ├── SpecError            a recipe, budget or override (all problems at once)
│   ├── DataError            a data set that cannot be read or learned from
│   ├── ModelError           a model that cannot be found or used
│   ├── AssetError           a bundled asset that could not be fetched or does not match its hash
│   ├── SpaceError           not enough disk space for what is asked
│   ├── StoreError           a run, study or store that is not there or is busy
│   └── PlanError            no plan can be made: too little data, or nothing fits
├── ForecastRefused          a model that cannot be traced: the forecast falls back to a closed form, and says so
└── RunError                 a run that cannot go on; exit code 1
    └── Stopped              a study that somebody stopped; it can go on
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class TrimtabError(Exception):
    """Whatever trimtab says on purpose, in one sentence; `exit_code` is the command line's."""

    exit_code = 1


class InputError(TrimtabError):
    """Something that was asked for cannot be: the person can mend it."""

    exit_code = 2


class SpecError(InputError):
    """All problems of one spec: `problems` is a list of sentences."""

    def __init__(self, where: str, problems: Sequence[str]):
        self.where, self.problems = where, list(problems)
        head = f"{where}: " if len(self.problems) == 1 else f"{where} has {len(self.problems)} problems:\n  - "
        super().__init__(head + "\n  - ".join(self.problems))


class DataError(InputError):
    """Data that cannot be read or learned from."""


class ModelError(InputError):
    """A model that cannot be had, loaded or adapted."""


class AssetError(InputError):
    """A bundled package that cannot be fetched."""


class SpaceError(InputError):
    """Too little room on a disk."""


class StoreError(InputError):
    """A store that is missing, damaged or busy, or lacks what was asked of it."""


class PlanError(InputError):
    """Facts that no plan can be made of."""


class ForecastRefused(TrimtabError):
    """A model or workload that cannot be forecast."""

    exit_code = 2


class RunError(TrimtabError):
    """A run that cannot begin or go on."""


class Stopped(RunError):
    """Somebody asked for it to stop; it can be resumed."""


def did_you_mean(given: str, allowed: Sequence[str]) -> str:
    """', did you mean "x"?' or '' — the tail of an error sentence."""
    initials = {"".join(word[:1] for word in name.split("_")): name for name in reversed(allowed) if "_" in name}
    near = (
        [initials[given.lower()]]
        if given.lower() in initials
        else get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    )
    return f'; did you mean "{near[0]}"?' if near else ""
