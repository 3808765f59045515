"""The lists of states: of a run or study, of why a run ended early, of a limit."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args


class Status(StrEnum):
    """Where a run, a study or a job stands."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"

    def is_finished(self) -> bool:
        """Ended, however."""
        return self in (Status.COMPLETE, Status.STOPPED, Status.FAILED)


class Cause(StrEnum):
    """Why a run ended before its last step; the sentence beside it is for people."""

    BUDGET = "BUDGET"  # two breaches in a row; goes on under a budget that it does not breach
    RACE = "RACE"  # far behind another; goes on when it is asked for
    LIMIT = "LIMIT"  # tokens or time; goes on when it is asked for
    GUARD = "GUARD"  # broken numbers; never goes on
    ASKED = "ASKED"  # somebody stopped it; goes on when it is asked for
    ERROR = "ERROR"  # its cohort failed while others went on; tried again when it is asked for
    PATIENCE = "PATIENCE"  # no more gain: complete


class Verdict(StrEnum):
    """Where an interval lies against a limit. UNDECIDED was measured, and its interval lies across the limit; a
    missing number is NOT_MEASURED; neither is a pass. SOFT_FAIL is of a whole card: certainly outside a soft limit,
    and outside no hard one."""

    PASS = "PASS"
    FAIL = "FAIL"
    SOFT_FAIL = "SOFT FAIL"
    UNDECIDED = "UNDECIDED"
    NOT_MEASURED = "NOT MEASURED"


# Of a behaviour card, each more thorough than the one before. pulse: generates nothing. short: and answers the neutral
# prompts. card: and is asked everything. audit: more of it, and again.
Level = Literal["pulse", "short", "card", "audit"]
LEVELS: tuple[Level, ...] = get_args(Level)
