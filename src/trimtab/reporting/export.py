"""A study's runs as a table for other programs: CSV, parquet, JSON, or a file that optuna-dashboard opens. Takes
rows, writes a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.errors import SpecError
from trimtab.spec.status import Status
from trimtab.store import RunRow, Store
from trimtab.tuning.study_evidence import numbers_of, varied

WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ".csv": lambda t, p: t.to_csv(p, index=False),
    ".parquet": lambda t, p: t.to_parquet(p, index=False),
    ".json": lambda t, p: t.to_json(p, orient="records", indent=1, force_ascii=False),
}
OPTUNA = ".db"


def rows_of(store: Store, study: str) -> list[dict[str, Any]]:
    """A row for each run: its settings, how it ended, and every number that was measured of it."""
    rows, told = [], {t["run"]: t for t in (getattr(store.study(study).facts, "result", None) or {}).get("trials", ())}
    for run in store.runs(study):
        numbers = numbers_of(store, run) if store.evaluations(run.id) else {}
        settings = run.recipe.model_dump(mode="json", exclude={"model", "data", "fingerprint"})
        targets = settings["target_modules"]
        settings["target_modules"] = targets if isinstance(targets, str) else " ".join(targets)
        # what the search itself saw: another study without its budget may have carried the run on since
        trial = told.get(run.id)
        seen = (
            {"trial_status": str(trial["status"]), "trial_loss": trial["loss"], "inside_budget": trial["inside"]}
            if trial
            else {}
        )
        ended = {k: run.result.get(k) for k in ("size", "seconds", "best_step", "cause")}
        rows.append(
            {
                "study": study,
                "run": run.id,
                "model": run.recipe.model,
                "data": run.recipe.data,
                "status": str(run.status),
                "reason": run.reason,
                **settings,
                "effective_batch": run.recipe.effective_batch,
                **seen,
                **ended,
                **numbers,
            }
        )
    return rows


def write(store: Store, study: str, path: Path) -> int:
    """By the file's ending; whole or not at all. Gives the number of rows."""
    allowed = (*WRITERS, OPTUNA)
    if path.suffix not in allowed:
        raise SpecError(
            f"{path}",
            [
                f"the file's ending says how it is written; allowed are {', '.join(allowed)} ({OPTUNA} for"
                " optuna-dashboard)"
            ],
        )
    if not path.parent.is_dir():
        raise SpecError(f"{path}", [f"there is no folder {path.parent}; make it, or give a file in one that exists"])
    scratch = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        scratch.unlink(missing_ok=True)
        if path.suffix == OPTUNA:
            with tempfile.TemporaryDirectory() as plain:  # an address would take a ? or % in the path for its own
                count = _optuna(store, study, Path(plain) / "study.db")
                shutil.copyfile(Path(plain) / "study.db", scratch)
        else:
            import pandas

            table = pandas.DataFrame(rows_of(store, study))
            count = len(table)
            WRITERS[path.suffix](table, scratch)
        os.replace(scratch, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise SpecError(
            f"{path}", [f"cannot be written ({error.strerror or error}); give a file in another folder"]
        ) from None
    return count


def _optuna(store: Store, study: str, path: Path) -> int:
    """Runs as trials over the settings that differ; the validation loss is the objective, every evaluation an
    intermediate value."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    runs = store.runs(study)
    made = optuna.create_study(storage=f"sqlite:///{path}", study_name=study, direction="minimize")
    ways = varied([r.recipe for r in runs]) if runs else []
    spread = {k: [w[k] for w in ways] for k in (ways[0] if ways else {})}
    kinds = {k: _distribution(optuna.distributions, v) for k, v in spread.items()}
    for run, way in zip(runs, ways, strict=True):
        made.add_trial(
            _trial(
                optuna, store, run, {k: way[k] if not isinstance(way[k], list) else str(way[k]) for k in kinds}, kinds
            )
        )
    return len(runs)


def _distribution(d: Any, values: Sequence[Any]) -> Any:
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        return d.CategoricalDistribution(list(dict.fromkeys(str(v) if isinstance(v, list) else v for v in values)))
    low, high = min(values), max(values)
    if all(isinstance(v, int) for v in values):
        return d.IntDistribution(low, high, log=low > 0)
    return d.FloatDistribution(float(low), float(high), log=low > 0)


def _trial(optuna: Any, store: Store, run: RunRow, way: Mapping[str, Any], kinds: Mapping[str, Any]) -> Any:
    evaluations = store.evaluations(run.id)
    best = min((e["loss"] for e in evaluations), default=None)
    states = optuna.trial.TrialState
    ended = run.status == Status.COMPLETE and best is not None
    return optuna.create_trial(
        state=states.COMPLETE if ended else states.PRUNED if best is not None else states.FAIL,
        params=dict(way), distributions=dict(kinds), value=best,
        intermediate_values={e["step"]: e["loss"] for e in evaluations},
        user_attrs={"run": run.id, "seed": run.recipe.seed, "status": str(run.status), "reason": run.reason or ""},
    )  # fmt: skip
