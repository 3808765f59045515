"""One function per verb: what the command line calls is what a program calls. Takes plain values, gives plain data.

Heavy rooms are imported inside the verbs, so that the quick ones never load torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import SpecError, StoreError, TrimtabError
from trimtab.folder import opened
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.yaml_file import check, dump, load_budget, load_recipe, split_overrides

if TYPE_CHECKING:
    from trimtab.store import RunRow, Store

DEFAULT_OUT = Path("trimtab-out")


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
    budget: str | Path | None = None,
    seconds: float | None = None,
    out: str | Path = DEFAULT_OUT,
    own: Mapping[str, Any] | Sequence[str] | None = None,
    mode: str = "fast",
    watcher: Any = None,
) -> dict[str, Any]:
    """The main job. Gives the recommendation with "report" (a path) added; started again, it continues or looks it up."""
    own = own_settings(model, data, own or {})
    limits = load_budget(budget)
    watcher = watcher or Quiet()
    with opened(out) as store:
        from trimtab.run import machine, material
        from trimtab.tune.coach import Coach
        from trimtab.tune.worker import Worker

        what = material.gather(model, data, watcher.note)
        asked = {
            "model": model,
            "data": data,
            "fingerprint": what.fingerprint,
            "budget": limits.model_dump(mode="json"),
            "seconds": seconds,
            "own": own,
            "mode": mode,
        }
        study = "tune-" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
        known = {s.id: s.asked for s in store.studies()}
        found = machine.look((known.get(study) or {}).get("machine", {}).get("threads"))
        base = {"method": own.get("method", "lora"), "bf16": own.get("bf16")}
        worker = Worker(store, what, found, watcher, limits, study, mode, **base)  # type: ignore[arg-type]
        _need_space(Path(out), worker.architecture["parameters"])
        command = _command(model, data, budget, seconds, out, own, mode)
        store.open_study(
            study, {**asked, "machine": found.as_dict(), "versions": machine.versions(), "command": command}
        )
        _know_the_data(store, study, model, what.dataset.examples["train"], worker.watcher.note)
        coach = Coach(worker, store, study, seconds, own, worker.watcher.note)
        result = coach.run()
        return {**result, "study": study, "report": str(_hand_over(store, study, result))}


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
    spec = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    written = spec if isinstance(recipe, Recipe) else load_recipe(recipe)
    moved = (written.model, written.data) != (spec.model, spec.data)
    spec = spec.but(fingerprint=None) if moved else spec
    limits = load_budget(budget) if budget else None
    with opened(out) as store:
        from trimtab.data.prepare import table_lines
        from trimtab.run import machine, material
        from trimtab.run.guards import Limits
        from trimtab.tune.worker import Worker

        watcher = watcher or Quiet()
        what = material.gather(spec.model, spec.data, watcher.note)
        if moved:
            _say_how_different(store, written, what.dataset.examples["train"], watcher.note)
        spec = what.named_in(spec)
        stop_at = Limits(max_tokens, max_seconds)
        worker = Worker(store, what, machine.look(), watcher, limits, None, mode, stop_at, listen_every=voices)  # type: ignore[arg-type]
        for line in table_lines(worker.describe_data(spec.max_length)):
            worker.watcher.note(line)
        (found,) = worker.train([spec], reopen=True)
        row = store.run(spec.run_id)
        if found.breach and row.status == Status.COMPLETE:  # trained to its end before, without this budget
            watcher.note(f"{row.id} is outside the budget {limits.name if limits else ''}: {found.breach}")
        return row


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
    kind: str,
    recipe: str | Path | Recipe,
    vary: Sequence[str] = (),
    *,
    seeds: int = 2,
    scale_lr: str = "sqrt",
    budget: str | Path | None = None,
    yes: bool = False,
    out: str | Path = DEFAULT_OUT,
    watcher: Any = None,
) -> dict[str, Any]:
    """A designed study: "scan", "ablate", "batch", "factorial" or "repeat" of a recipe; options as in `trimtab study`.

    Gives {"cells", "sentence", …}: each cell against the first on the same items and seeds, with an interval. Goes on where it stopped.
    """
    from trimtab import studying

    return studying.study(kind, recipe, vary, seeds, scale_lr, budget, yes, out, watcher or Quiet())


def study_result(study: str | None = None, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """What a designed study found; the newest where none is named."""
    from trimtab import studying

    return studying.show(study, out)


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


def report(study: str | None, out: str | Path = DEFAULT_OUT) -> tuple[Path, dict[str, Any]]:
    """(page, data) of a study; the newest when none is named."""
    from trimtab.report.gather import study_report
    from trimtab.report.page import write_report

    with opened(out, create=False) as store:
        every = store.studies()
        if not every:
            raise StoreError(f"{out} holds runs but no study; make one with: trimtab tune MODEL DATA")
        hits = [s.id for s in every if study is None or s.id == study or s.id.startswith(study)]
        name = store.study(hits[-1] if hits else str(study)).id
        return write_report(store, name, Path(out) / name), study_report(store, name)


def _know_the_data(store: Store, study: str, model: str, examples: Sequence[Any], say: Callable[[str], None]) -> None:
    """Keeps with a study what kind of data it is made on, and says what earlier studies of the model are worth here; once."""
    from trimtab.advice import earlier
    from trimtab.data.fingerprint import fingerprint

    if store.study(study).facts.get("data_fingerprint"):
        return
    kind = fingerprint(examples)
    found = [row["sentence"] for row in earlier.alike(store, model, kind, but=study)[:3]]
    store.update_study(study, facts={"data_fingerprint": kind, "earlier": found})
    for sentence in found:
        say(f"Earlier study: {sentence}")


def _say_how_different(store: Store, written: Recipe, examples: Sequence[Any], say: Callable[[str], None]) -> None:
    """A recipe that is used on other data than it was made for: known from a study, or read again where they still lie."""
    from trimtab.advice import earlier
    from trimtab.advice.verbs import fingerprint_of
    from trimtab.data.fingerprint import difference, fingerprint

    known = earlier.behind(store, written.fingerprint) if written.fingerprint else None
    try:
        known = known or fingerprint_of(written.data, lambda _: None)
    except TrimtabError:
        say("This recipe was made for other material, which is not known here; its settings are a guess")
        return
    d = difference(known, fingerprint(examples))
    say(
        f"This recipe was made for other data ({earlier.WORDS[d['level']]}, told apart with AUC {d['auc']:.2f}): {d['trust']}"
    )


def _need_space(out: Path, parameters: int) -> None:
    """Adapters of about ten runs (best and last) and the state of three: some 2 % of the weights each, at 4 bytes."""
    from trimtab.data.assets import need_space

    need_space(out, 100 + parameters * 0.04 * 4 * (10 * 2 + 3 * 3) / 1e6, "this study")


def _hand_over(store: Store, study: str, result: Mapping[str, Any]) -> Path:
    """recipe.yaml, adapter/ and the report in the study's folder."""
    from trimtab.report.page import write_report

    folder = store.folder / study
    folder.mkdir(parents=True, exist_ok=True)
    plan = {row["setting"]: row["reason"] for row in store.study(study).facts.get("plan", [])}
    (folder / "recipe.yaml").write_text(dump(Recipe.model_validate(result["recipe"]), plan), encoding="utf-8")
    weights = store.folder / "runs" / result["run"] / "best"
    target = folder / ("adapter" if (weights / "adapter_config.json").exists() else "model")
    if weights.exists() and not target.exists():
        scratch = folder / ".copy"
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(weights, scratch)
        scratch.rename(target)  # a copy that was cut short never looks whole
    return write_report(store, study, folder)


def own_settings(model: str, data: str, own: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """What a person fixed, typed and checked: all problems in one SpecError."""
    values, problems = (dict(own), []) if isinstance(own, Mapping) else split_overrides(own)
    named = [k for k in values if k in ("model", "data", "fingerprint")]
    problems += [f"{k} is no setting here: MODEL and DATA are the first two arguments" for k in named]
    values = {k: v for k, v in values.items() if k not in named}
    checked = check(Recipe, {"model": model, "data": data, **values}, "your settings", problems)
    return {k: getattr(checked, k) for k in values}


def _command(
    model: str,
    data: str,
    budget: str | Path | None,
    seconds: float | None,
    out: str | Path,
    own: Mapping[str, Any],
    mode: str,
) -> str:
    """What to type to get this study; quoted for a shell."""
    parts = ["trimtab", "tune", model, data]
    parts += ["--budget", str(budget)] if budget else []
    parts += ["--time", duration_text(seconds)] if seconds else []
    parts += ["--out", str(out)] if Path(out) != DEFAULT_OUT else []
    parts += ["--certify"] if mode == "certify" else []
    return shlex.join(parts + [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in own.items()])


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


def duration_text(seconds: float) -> str:
    return f"{seconds / 60:g}m" if seconds % 60 == 0 else f"{seconds:g}s"
