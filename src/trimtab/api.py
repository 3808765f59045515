"""One function per verb: what the command line calls is what a program calls. Takes plain values, gives plain data.

Heavy rooms are imported inside the verbs, so that the quick ones never load torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import SpecError, StoreError
from trimtab.folder import DEFAULT_OUT, opened
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe
from trimtab.spec.yaml_file import check, load_budget, split_overrides

if TYPE_CHECKING:
    from trimtab.store import RunRow


class Quiet:
    """A watcher that shows nothing."""

    def cohort(self, recipes: Sequence[Recipe], steps: Mapping[str, int]) -> None:
        pass

    def step(self, run: str, numbers: Mapping[str, Any]) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def done(self) -> None:
        pass


def tune(
    model: str,
    data: str,
    *,
    budget: str | Path | Budget | None = None,
    seconds: float | None = None,
    out: str | Path = DEFAULT_OUT,
    own: Mapping[str, Any] | Sequence[str] | None = None,
    mode: str = "fast",
    also: Sequence[str] = (),
    on: str | None = None,
    workers: int | None = None,
    watcher: Any = None,
) -> dict[str, Any]:
    """The main job. Gives the recommendation with "report" (a path) added; started again, it continues or looks it up.

    `also`: "rank", "decay", tried after the epochs; `on`, `workers`: where runs are trained, as in `study`.
    """
    from trimtab import tuning

    settings = own_settings(model, data, own or {})
    return tuning.tune(model, data, budget, seconds, out, settings, mode, also, on, workers, watcher or Quiet())


def explain(model: str, data: str, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """Every decision of the newest study of this model and data, with its evidence; trains nothing."""
    from trimtab import tuning

    return tuning.explain(model, data, out)


def train(
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    out: str | Path = DEFAULT_OUT,
    budget: str | Path | None = None,
    max_seconds: float | None = None,
    max_tokens: int | None = None,
    mode: str = "fast",
    voices: int = 0,
    watcher: Any = None,
) -> RunRow:
    """One run of one recipe, or its continuation. `budget` adds the guard that stops it at two breaches in a row; `voices` N
    takes every Nth update example by example.

    A run that something else had stopped (a limit, a race, another budget) goes on; broken numbers do not.
    """
    from trimtab import tuning

    return tuning.train(recipe, overrides, out, budget, max_seconds, max_tokens, mode, voices, watcher or Quiet())


def card(
    target: str,
    *,
    budget: str | Path | None = None,
    level: str = "card",
    base: str | None = None,
    data: str | None = None,
    language: str | None = None,
    probes: str | Path | None = None,
    page: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    watcher: Any = None,
) -> dict[str, Any]:
    """The behaviour card of a run, or (with `base`) of any adapter or model, against its base model.

    Measured once per level and kept with the run; judged against any budget. `page`: also written as HTML there.
    """
    from trimtab import behaving

    return behaving.card(target, budget, level, base, data, language, probes, page, out, watcher or Quiet())


def voices(run: str, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """Whom the updates of a run listened to: consensus, noise scale, dominators, each example's history."""
    from trimtab import behaving

    return behaving.voices(run, out)


def dose(
    run: str, *, budget: str | Path | None = None, out: str | Path = DEFAULT_OUT, watcher: Any = None
) -> dict[str, Any]:
    """Gain and drift of a run's adapter at 0 to 1.25 of its strength."""
    from trimtab import behaving

    return behaving.dose(run, budget, out, watcher or Quiet())


def review(run: str, other: str | None = None, *, n: int = 50, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """A blind review: its pairs (drawn once), the votes so far and what they say."""
    from trimtab import reviewing

    return reviewing.review(run, other, n, out)


def vote(review: str, place: int, choice: str | None, out: str | Path = DEFAULT_OUT) -> None:
    """A vote on one pair of a review: "first", "second", "tie"; None takes it back."""
    from trimtab import reviewing

    reviewing.vote(review, place, choice, out)


def to_label(run: str, *, n: int = 50, out: str | Path = DEFAULT_OUT) -> list[dict[str, Any]]:
    """Answers that a person may say of whether they refuse, base and tuned mixed and blind."""
    from trimtab import reviewing

    return reviewing.to_label(run, n, out)


def label(answer: Mapping[str, Any], value: float, out: str | Path = DEFAULT_OUT) -> None:
    """What a person says of one answer of `to_label`: 1 refuses, 0 does not."""
    from trimtab import reviewing

    reviewing.label(answer, value, out)


def budget(source: str | Path | None = None) -> dict[str, Any]:
    """The limits of a preset or file, with what each number is. Raises SpecError with every problem."""
    from trimtab.analysis.numbers import number
    from trimtab.spec.budget import kind_of

    found = load_budget(source)
    rows = [
        {"number": k, "limit": v.model_dump(mode="json"), "unit": kind_of(k).unit, "title": number(k).title}
        for k, v in found.limits.items()
    ]
    return {"name": found.name, "limits": rows}


def study(
    kind: str, recipe: str | Path | Recipe, vary: Sequence[str] = (), *, seeds: int = 2, scale_lr: str = "sqrt", watcher: Any = None, **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """A designed study: "scan", "ablate", "batch", "factorial" or "repeat" of a recipe; options as in `trimtab study`.

    `how`: out, budget, yes, on, workers, cohort, card, trunk; `race` for a search. Gives {"cells", "sentence", …}: each cell against the first on the same items and
    seeds, with an interval. Goes on where it stopped.
    """
    from trimtab import studying

    return studying.study(kind, recipe, vary, seeds, scale_lr, _how(how), watcher or Quiet())


def search(
    recipe: str | Path | Recipe, *, space: str | Path | None = None, sampler: str = "tpe", trials: int = 20, seconds: float | None = None,
    screen: bool = False, watcher: Any = None, **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """A search over a space (a YAML file, or the plan's ranges) by "tpe", "gp", "cmaes", "nsga2", "random" or "grid"; `how` as in `study`.

    Gives {"trials", "best", "front", "sentence", …}. Goes on where it stopped; more `trials` continue it.
    """
    from trimtab import studying

    return studying.search(recipe, space, sampler, trials, seconds, screen, _how(how), watcher or Quiet())


def study_path(first: str, second: str, *, watcher: Any = None, **how: Any) -> dict[str, Any]:
    """From one run to another, one setting at a time: {"steps", "sentence", …}; trains what is missing between them."""
    from trimtab import studying

    return studying.path(first, second, _how(how), watcher or Quiet())


def resume_study(study: str | None = None, *, watcher: Any = None, **how: Any) -> dict[str, Any]:
    """Go on with a study that was stopped or cut short, of `tune` too, as it was asked for."""
    from trimtab import studying

    options = _how(how)
    with opened(options.out, create=False) as store:
        found = store.find_study(study)
    if "kind" in found.asked:
        return studying.resume(found, options, watcher or Quiet())
    asked = found.asked
    return tune(
        asked["model"], asked["data"], budget=Budget.model_validate(asked["budget"]), seconds=asked["seconds"], out=options.out, own=asked["own"],
        mode=asked["mode"], also=asked.get("also", ()), on=options.on, workers=options.workers, watcher=watcher,
    )  # fmt: skip


def extend_study(
    study: str | None = None,
    vary: Sequence[str] = (),
    *,
    seeds: int | None = None,
    trials: int | None = None,
    watcher: Any = None,
    **how: Any,
) -> dict[str, Any]:
    """More seeds, more values of a scan or more trials of a search."""
    from trimtab import studying

    options = _how(how)
    with opened(options.out, create=False) as store:
        found = store.find_study(study, designed=True)
    return studying.extend(found, vary, seeds, trials, options, watcher or Quiet())


def stop_study(study: str | None = None, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """Asks whoever trains it to stop: {"study", "stopping"}."""
    from trimtab import studying

    return studying.stop(study, out)


def study_result(study: str | None = None, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """What a designed study found; the newest where none is named."""
    from trimtab import looking

    return looking.show(study, out)


def studies(out: str | Path = DEFAULT_OUT) -> list[dict[str, Any]]:
    """Every study of a folder with its state and answer."""
    from trimtab import looking

    return looking.every(out)


def attribute(study: str | None = None, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """Which setting of a study moved which number: shares with intervals, couplings and the seed, signed effects."""
    from trimtab import looking

    return looking.attribute(study, out)


def export_study(study: str | None, path: str | Path, out: str | Path = DEFAULT_OUT) -> int:
    """A study's runs as a table, a row each, by the file's ending: .csv, .parquet or .json. Gives the number of rows."""
    from trimtab import looking

    return looking.export(study, path, out)


def keep_store(url: str | None, out: str | Path = DEFAULT_OUT) -> str:
    """Where this folder's store is; with `url`, where it is from now on (a server for several machines)."""
    from trimtab.folder import move_store

    return move_store(Path(out), url)


def work(study: str | None = None, out: str | Path = DEFAULT_OUT) -> int:
    """Trains what waits in a study's queue until nothing does; gives the number of cohorts. For a second machine or card."""
    from trimtab.tune import serve

    with opened(out, create=False) as store:
        found = store.find_study(study)
    return serve.serve(out, found.id)


def _how(options: Mapping[str, Any]) -> Any:
    from trimtab.studying import How

    return How(**{**options, **({"out": Path(options["out"])} if "out" in options else {})})


def runs(out: str | Path = DEFAULT_OUT) -> list[RunRow]:
    with opened(out, create=False) as store:
        return store.runs()


def forecast(file: str | Path | None = None, settings: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """Peak memory, fit and time before launch, of a recipe or workload file or of settings of `Workload` given by name.

    `trimtab.forecast(model="Qwen/Qwen2.5-7B", method="lora", max_length=4096, gpu="24GB")`; `gpu`, `instant`, `out`, `say` as in
    `trimtab forecast`. Raises SpecError or ModelError with every problem.
    """
    from trimtab.forecasting import verbs

    options = {k: more.pop(k) for k in ("gpu", "instant", "out", "say") if k in more}
    return verbs.forecast(file, settings, {**more.pop("own", {}), **more}, **options)


def plan(model: str, data: str, **options: Any) -> dict[str, Any]:
    """Settings to start from, with reasons, sources, ranges, forecast, risks and next experiments; options as in `trimtab plan`."""
    from trimtab.advice import verbs

    return verbs.plan(model, data, **options)


def write_page(found: Mapping[str, Any], path: str | Path) -> None:
    """A plan's page; SpecError where it cannot be written."""
    try:
        Path(path).write_text(found["yaml"], encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"--out {path}", [f"cannot be written ({error.strerror}); give a file in a folder that exists"]
        ) from None


def precedents(model: str, **options: Any) -> dict[str, Any]:
    """The published recipes nearest to a model; options as in `trimtab precedents`."""
    from trimtab.advice import verbs

    return verbs.nearest(model, **options)


def data(data: str, **options: Any) -> dict[str, Any]:
    """What is in a data set; options as in `trimtab data`."""
    from trimtab.advice import verbs

    return verbs.data_report(data, **options)


def compare(first: str, second: str, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """Two runs on the same validation items, and on the task where both were asked."""
    from trimtab.analysis.compare import compare_runs

    with opened(out, create=False) as store:
        a, b = store.find_run(first), store.find_run(second)
        return compare_runs(a, b, store.evaluations(a.id), store.evaluations(b.id))


def report(study: str | None = None, out: str | Path = DEFAULT_OUT) -> tuple[Path, dict[str, Any]]:
    """(page, data) of a study, of `trimtab tune` or designed; the newest when none is named."""
    from trimtab import looking
    from trimtab.report.gather import study_report
    from trimtab.report.page import write_report

    with opened(out, create=False) as store:
        every = store.studies()
        if not every:
            raise StoreError(f"{out} holds runs but no study; make one with: trimtab tune MODEL DATA")
        hits = [s.id for s in every if study is None or s.id == study or s.id.startswith(study)]
        found = store.study(hits[-1] if hits else str(study))
        if "kind" not in found.asked:
            return write_report(store, found.id, Path(out) / found.id), study_report(store, found.id)
    return looking.report(found.id, out)


def own_settings(model: str, data: str, own: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """What a person fixed, typed and checked: all problems in one SpecError."""
    values, problems = (dict(own), []) if isinstance(own, Mapping) else split_overrides(own)
    named = [k for k in values if k in ("model", "data", "fingerprint")]
    problems += [f"{k} is no setting here: MODEL and DATA are the first two arguments" for k in named]
    values = {k: v for k, v in values.items() if k not in named}
    checked = check(Recipe, {"model": model, "data": data, **values}, "your settings", problems)
    return {k: getattr(checked, k) for k in values}


def duration(text: str, option: str = "--time") -> float:
    """ "90s", "30m", "1.5h" or bare minutes, in seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    body, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 60.0)
    try:
        seconds = float(body) * unit
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise SpecError(option, [f'got "{text}"; give a duration such as 90s, 30m or 1.5h'])
    return seconds
