"""The one list of states a run or study can be in."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"

    def is_finished(self) -> bool:
        return self in (Status.COMPLETE, Status.STOPPED, Status.FAILED)


class Verdict(StrEnum):
    """Where an interval lies against a limit. A missing number is UNDECIDED, never a pass."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"
