"""The verbs that go on with a study of any kind: resume, extend, stop. Plain values and StudyOptions in, data out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.api.study import STOPPED, carry_out, search_of, study_path
from trimtab.errors import SpecError, StoreError
from trimtab.planning import design as designs
from trimtab.planning.design import Cell, Design
from trimtab.spec.options import StudyOptions
from trimtab.spec.progress import SILENT, Progress
from trimtab.spec.results import StudyResult
from trimtab.spec.status import Status
from trimtab.spec.study import DesignAsked, InsideAsked, PathAsked, SearchAsked, SearchFacts, TuneAsked
from trimtab.store.folder import opened, typed

if TYPE_CHECKING:
    from trimtab.store import StudyRow


def resume_study(
    study: str | None = None, *, options: StudyOptions = StudyOptions(), watcher: Progress = SILENT
) -> dict[str, Any] | StudyResult:
    """Go on with a study of any kind that was stopped or cut short, as it was asked for. StoreError where there is
    none."""
    with opened(options.out, create=False) as store:
        row = store.find_study(study)
    asked = row.asked
    if isinstance(asked, TuneAsked):
        from trimtab.api.tune import tune

        return tune(  # type: ignore[return-value]
            asked.model,
            asked.data,
            budget=asked.budget,
            seconds=asked.seconds,
            out=options.out,
            own=asked.own,
            mode=asked.mode,
            also=asked.also,
            on=options.on,
            workers=options.workers,
            watcher=watcher,
        )
    if isinstance(asked, InsideAsked):
        from trimtab.api.inside import inside

        return inside(  # type: ignore[return-value]
            asked.run, budget=asked.budget, out=options.out, on=options.on, workers=options.workers, watcher=watcher
        )
    options = replace(options, budget=asked.budget, yes=True, card=getattr(asked, "card", None))
    if isinstance(asked, PathAsked):
        return study_path(*asked.runs, options=options, watcher=watcher)
    if isinstance(asked, SearchAsked):
        assert isinstance(row.facts, SearchFacts)
        return _search_again(row, row.facts.trials or 0, row.facts.limit, options, watcher)
    return carry_out(_design(row), options, asked.command, watcher)


def extend_study(
    study: str | None = None,
    vary: Sequence[str] = (),
    *,
    seeds: int | None = None,
    trials: int | None = None,
    options: StudyOptions = StudyOptions(),
    watcher: Progress = SILENT,
) -> StudyResult:
    """More seeds, more values of a scan, or more trials of a search; what was run already is only looked up. Raises
    SpecError."""
    with opened(options.out, create=False) as store:
        row = store.find_study(study)
    if problems := _wrong_extension(row, vary, seeds, trials):
        raise SpecError(f"trimtab study extend {row.id}", problems)
    asked = row.asked
    options = replace(options, budget=asked.budget, card=getattr(asked, "card", None))
    if isinstance(asked, SearchAsked):
        return _search_again(row, trials or 0, None, options, watcher)
    made = _extended(_design(row), vary, seeds)
    words = ["trimtab", "study", "extend", row.id, *vary, *(["--seeds", str(seeds)] if seeds else [])]
    return carry_out(made, options, shlex.join([*words, *replace(options, budget=None).typed()]), watcher)


def _extended(made: Design, vary: Sequence[str], seeds: int | None) -> Design:
    base = made.baseline.recipe
    if vary:
        more = designs.scan(base, designs.read_levels(base, vary), 1)
        known = {c.recipe for c in made.cells}
        cells = (*made.cells, *(c for c in more.cells if c.recipe not in known))
        made = replace(made, cells=cells, held=tuple(dict.fromkeys((*made.held, *more.held))))
    if seeds:
        made = replace(made, seeds=designs.seeds_of(base, max(seeds, len(made.seeds))))
    return made


def _wrong_extension(row: StudyRow, vary: Sequence[str], seeds: int | None, trials: int | None) -> list[str]:
    asked = row.asked
    if isinstance(asked, InsideAsked):
        return [f"with more time the rest of its steps are tried: trimtab inside {asked.run} --time"]
    if isinstance(asked, PathAsked | TuneAsked):
        tune = "trimtab tune extends its scan itself; to look further: trimtab study scan with its recipe.yaml"
        return ["a path has nothing to be extended by" if isinstance(asked, PathAsked) else tune]
    if isinstance(asked, SearchAsked):
        if not trials or vary or seeds:
            return ["a search is extended with --trials N"]
        assert isinstance(row.facts, SearchFacts)
        known = row.facts.trials or 0
        return [] if trials > known else [f"--trials: got {trials}, and {known} were asked for already; give more"]
    assert isinstance(asked, DesignAsked)
    problems = ["--trials is for a search; give --seeds N"] if trials else []
    known = len(asked.seeds)
    if seeds is not None and seeds <= known and not vary:
        problems.append(f"--seeds: got {seeds}, and every cell has {known} already; give more")
    if vary and asked.kind != "scan":
        problems.append("takes more seeds, not more values; start a new one: its runs are looked up")
    if not (problems or vary or seeds):
        problems = ["say by what: --seeds N, setting=value for a scan, --trials N for a search"]
    return problems


def _search_again(
    row: StudyRow, trials: int, seconds: float | None, options: StudyOptions, watcher: Progress
) -> StudyResult:
    from trimtab.planning.space import Dimension

    asked, known = row.asked, row.facts
    assert isinstance(asked, SearchAsked)
    assert isinstance(known, SearchFacts)
    space = tuple(Dimension(**{**d, "values": tuple(d["values"])}) for d in asked.space)
    options = replace(options, race=known.race)
    return search_of(asked.base, space, asked.sampler, trials, seconds, known.screen, options, asked.command, watcher)


def _design(row: StudyRow) -> Design:
    """As it was asked for."""
    asked = row.asked
    assert isinstance(asked, DesignAsked)
    if asked.changed is None:
        raise StoreError(f"{row.id} was made by an earlier trimtab; go on with: {asked.command}")
    cells = tuple(Cell(c, r) for c, r in zip(asked.changed, asked.cells, strict=True))
    return Design(asked.kind, asked.question, cells, asked.seeds, asked.held)


def stop_study(study: str | None = None, out: str | Path = StudyOptions.out) -> dict[str, Any]:
    """Asks whoever trains it to stop; nothing that was saved is lost. {"study", "stopping"}: the runs that were
    under way."""
    with opened(out, create=False) as store:
        row = store.find_study(study)
        if row.status == Status.COMPLETE:
            raise StoreError(f"{row.id} is complete; there is nothing to stop")
        if row.status == Status.STOPPED and row.facts.owner is None:
            raise StoreError(f"{row.id} is stopped already; go on with: {typed('study resume', row.id, out)}")
        store.update_study(row.id, status=Status.STOPPED)
        store.queue.cancel(row.id, STOPPED)
        open_runs = [r.id for r in store.runs(row.id) if not r.status.is_finished()]
        for run in open_runs:
            store.ask_stop(run, STOPPED)
        return {"study": row.id, "stopping": open_runs}
