"""The verbs about what was found: runs, compare, studies, study_result, report, attribute, export_study. Read the
store, train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trimtab.errors import StoreError
from trimtab.spec.options import DEFAULT_OUT
from trimtab.spec.results import Attribution, Comparison
from trimtab.spec.status import Cause, Status
from trimtab.spec.study import DesignAsked
from trimtab.store.folder import opened, typed

if TYPE_CHECKING:
    from trimtab.store import RunRow, StudyRow


def runs(out: str | Path = DEFAULT_OUT) -> list[RunRow]:
    """Every run of a folder, in the order they were begun. StoreError where there is no store."""
    with opened(out, create=False) as store:
        return store.runs()


def compare(first: str, second: str, out: str | Path = DEFAULT_OUT) -> Comparison:
    """Two runs on the same validation items, and on the task where both were asked. StoreError where they cannot be
    compared."""
    from trimtab.analysis.compare import compare_runs

    with opened(out, create=False) as store:
        a, b = store.find_run(first), store.find_run(second)
        if a.recipe.task != b.recipe.task:
            raise StoreError(
                f"{a.id} learned {a.recipe.task} and {b.id} {b.recipe.task}, so their losses are not of one kind;"
                " compare runs of one task"
            )
        return compare_runs(a, b, store.evaluations(a.id), store.evaluations(b.id))


def study_result(study: str | None = None, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """What a study of any kind found, of `tune` its recommendation; the newest where none is named. StoreError while
    it is not finished."""
    with opened(out, create=False) as store:
        row = store.find_study(study)
        result = getattr(row.facts, "recommendation" if row.kind == "tune" else "result", None)
        if result is None:
            raise StoreError(_unfinished(row, store.runs(row.id), out))
        if row.kind == "tune":
            result = {**result, "report": str(store.folder / row.id / "report.html")}
        return {**result, "study": row.id, "asked": row.asked.model_dump(mode="json")}


def _unfinished(row: StudyRow, runs: list[RunRow], out: str | Path) -> str:
    asked = row.asked
    whole = f" of {len(asked.cells) * len(asked.seeds)}" if isinstance(asked, DesignAsked) else ""
    at_work = row.status == Status.RUNNING and not row.cut_short
    now = (
        f"it is at work; stop it with: {typed('study stop', row.id, out)}"
        if at_work
        else f"go on with: {typed('study resume', row.id, out)}"
    )
    return f"{row.id} is not finished: {sum(map(_ended, runs))}{whole} runs; {now}"


def _ended(run: RunRow) -> bool:
    """Not those that somebody stopped: they go on."""
    return run.status.is_finished() and run.result.get("cause") != Cause.ASKED


def studies(out: str | Path = DEFAULT_OUT) -> list[dict[str, Any]]:
    """All studies of a folder: {"study", "status", "runs", "finished", "sentence"}; "cut short" where its process is
    gone."""
    with opened(out, create=False) as store:
        rows = []
        for s in store.studies():
            runs = store.runs(s.id)
            decided = (d["sentence"] for d in store.decisions(s.id)[::-1])
            rows.append({
                "study": s.id, "status": "cut short" if s.cut_short else s.status, "runs": len(runs),
                "finished": sum(map(_ended, runs)),
                "sentence": (getattr(s.facts, "result", None) or {}).get("sentence") or next(decided, ""),
            })  # fmt: skip
        return rows


def report(study: str | None = None, out: str | Path = DEFAULT_OUT) -> tuple[Path, dict[str, Any]]:
    """(page, data) of a study of any kind; the newest where none is named. StoreError where there is none, or it is
    not finished."""
    with opened(out, create=False) as store:
        if not store.studies():
            raise StoreError(f"{out} holds runs but no study; make one with: trimtab tune MODEL DATA")
        row = store.find_study(study)
        if row.kind == "tune":
            from trimtab.reporting.page import write_report
            from trimtab.reporting.report_data import study_report

            return write_report(store, row.id, store.folder / row.id), study_report(store, row.id)
    return _study_page(row.id, out)


def _study_page(study: str, out: str | Path) -> tuple[Path, dict[str, Any]]:
    from trimtab.reporting.study import write_study
    from trimtab.tuning.study_evidence import of_study

    result = study_result(study, out)
    if result["kind"] == "inside":
        from trimtab.reporting.inside import write_inside

        return write_inside(result, Path(out) / study), result
    with opened(out, create=False) as store:
        evidence = of_study(store, result)
    return write_study(result, evidence, Path(out) / study), {**result, **evidence}


def attribute(study: str | None = None, out: str | Path = DEFAULT_OUT) -> Attribution:
    """Settings × numbers of a study's complete runs: {"settings", "rows": [{"number", "shares", "sentence"}],
    "next"}."""
    from trimtab.tuning.study_evidence import attributed

    with opened(out, create=False) as store:
        return cast(Attribution, attributed(store, store.find_study(study)))


def export_study(study: str | None, path: str | Path, out: str | Path = DEFAULT_OUT) -> int:
    """A study's runs as a table, by the file's ending."""
    from trimtab.reporting.export import write

    with opened(out, create=False) as store:
        return write(store, store.find_study(study).id, Path(path))
