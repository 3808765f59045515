"""What studies found, as a program asks for it: show, list, report, attribute, export. Reads the store, trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import StoreError
from trimtab.folder import opened, typed
from trimtab.spec.status import Cause, Status

if TYPE_CHECKING:
    from trimtab.store import RunRow


def show(study: str | None, out: str | Path) -> dict[str, Any]:
    """What a study found; the newest where none is named."""
    with opened(out, create=False) as store:
        found = store.find_study(study, designed=True)
        result = found.facts.get("result")
        if result is None:
            done = [r for r in store.runs(found.id) if _ended(r)]
            whole = f" of {len(found.asked['cells']) * len(found.asked['seeds'])}" if "cells" in found.asked else ""
            now = (
                f"it is at work; stop it with: {typed('study stop', found.id, out)}"
                if found.status == Status.RUNNING and not found.cut_short
                else f"go on with: {typed('study resume', found.id, out)}"
            )
            raise StoreError(f"{found.id} is not finished: {len(done)}{whole} runs; {now}")
        return {**result, "study": found.id, "asked": found.asked}


def _ended(run: RunRow) -> bool:
    """Not those that somebody stopped: they go on."""
    return run.status.is_finished() and run.result.get("cause") != Cause.ASKED


def every(out: str | Path) -> list[dict[str, Any]]:
    """All studies of a folder: {"study", "status", "runs", "finished", "sentence"}; "cut short" where its process is gone."""
    with opened(out, create=False) as store:
        rows = []
        for s in store.studies():
            runs = store.runs(s.id)
            said = (s.facts.get("result") or {}).get("sentence") or next(
                (d["sentence"] for d in store.decisions(s.id)[::-1]), ""
            )
            rows.append(
                {"study": s.id, "status": "cut short" if s.cut_short else s.status, "runs": len(runs), "finished": sum(_ended(r) for r in runs), "sentence": said}
            )  # fmt: skip
        return rows


def report(study: str, out: str | Path) -> tuple[Path, dict[str, Any]]:
    """The page of a study and its data."""
    from trimtab.report.study import write_study
    from trimtab.tune.evidence import of_study

    found = show(study, out)
    with opened(out, create=False) as store:
        evidence = of_study(store, found)
    return write_study(found, evidence, Path(out) / study), {**found, **evidence}


def attribute(study: str | None, out: str | Path) -> dict[str, Any]:
    """Settings × numbers of a study's complete runs: {"settings", "rows": [{"number", "shares", "sentence"}], "next"}."""
    from trimtab.tune.evidence import attributed

    with opened(out, create=False) as store:
        return attributed(store, store.find_study(study, designed=True))


def export(study: str | None, path: str | Path, out: str | Path) -> int:
    """A study's runs as a table, by the file's ending."""
    from trimtab.report.export import write

    with opened(out, create=False) as store:
        return write(store, store.find_study(study).id, Path(path))
