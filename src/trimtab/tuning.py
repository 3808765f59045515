"""The verbs that train, as a program calls them: tune and train. Takes plain values, gives plain data; api.py's other half."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import SpecError, StoreError, TrimtabError
from trimtab.folder import DEFAULT_OUT, opened
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.yaml_file import dump, load_budget, load_recipe

if TYPE_CHECKING:
    from trimtab.store import RunRow, Store


def tune(
    model: str, data: str, budget: str | Path | Budget | None, seconds: float | None, out: str | Path, own: Mapping[str, Any], mode: str,
    also: Sequence[str], on: str | None, workers: int | None, watcher: Any,
) -> dict[str, Any]:  # fmt: skip
    _check_also(also, own)
    _check_place(on)
    limits = budget if isinstance(budget, Budget) else load_budget(budget)
    with opened(out) as store:
        from trimtab.run import machine, material
        from trimtab.tune import places
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
            **({"also": list(also)} if also else {}),
        }
        study = "tune-" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
        known = {s.id: s.asked for s in store.studies()}
        found = machine.look((known.get(study) or {}).get("machine", {}).get("threads"))
        base = {"method": own.get("method", "lora"), "bf16": own.get("bf16")}
        worker = Worker(store, what, found, watcher, limits, study, mode, **base)  # type: ignore[arg-type]
        _need_space(Path(out), worker.architecture["parameters"])
        command = _command(model, data, budget, seconds, out, own, mode, also)
        store.open_study(
            study, {**asked, "machine": found.as_dict(), "versions": machine.versions(), "command": command}
        )
        _know_the_data(store, study, model, what.dataset.examples["train"], worker.watcher.note)
        largest = Recipe(model=model, data=data, **own)
        lab = places.lab(worker, on, workers, largest)
        coach = Coach(lab, store, study, seconds, own, worker.watcher.note, also=also)
        result = coach.run()
        return {**result, "study": study, "report": str(_hand_over(store, study, result))}


def train(
    recipe: str | Path | Recipe, overrides: Sequence[str], out: str | Path, budget: str | Path | None, max_seconds: float | None,
    max_tokens: int | None, mode: str, voices: int, watcher: Any,
) -> RunRow:  # fmt: skip
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


def _check_also(also: Sequence[str], own: Mapping[str, Any]) -> None:
    from trimtab.tune.moves import ALSO

    problems = [f'got "{a}"; allowed are {", ".join(ALSO)}' for a in also if a not in ALSO]
    known = [a for a in also if a in ALSO]
    problems += [f"{a}: {ALSO[a][0]} is your own setting, which is not searched" for a in known if ALSO[a][0] in own]
    problems += ["rank: full fine-tuning has none"] if "rank" in known and own.get("method") == "full" else []
    if problems:
        raise SpecError("--also", problems)


def _check_place(on: str | None) -> None:
    from trimtab.tune.launch import where_problems

    if problems := where_problems(on):
        raise SpecError("trimtab tune", problems)


def explain(model: str, data: str, out: str | Path) -> dict[str, Any]:
    """The decisions of the newest study of this model and data, each with its evidence; nothing is trained."""
    from trimtab.report.gather import study_report

    with opened(out, create=False) as store:
        mine = [
            s.id
            for s in store.studies()
            if "kind" not in s.asked and (s.asked["model"], s.asked["data"]) == (model, data)
        ]
        if not mine:
            raise StoreError(f"{out} holds no study of {model} on {data}; without --explain one is made")
        return study_report(store, mine[-1])


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


def _command(
    model: str,
    data: str,
    budget: str | Path | Budget | None,
    seconds: float | None,
    out: str | Path,
    own: Mapping[str, Any],
    mode: str,
    also: Sequence[str],
) -> str:
    """What to type to get this study; quoted for a shell."""
    parts = ["trimtab", "tune", model, data]
    parts += ["--budget", budget.name if isinstance(budget, Budget) else str(budget)] if budget else []
    parts += ["--time", duration_text(seconds)] if seconds else []
    parts += ["--out", str(out)] if Path(out) != DEFAULT_OUT else []
    parts += ["--certify"] if mode == "certify" else []
    parts += ["--also", ",".join(also)] if also else []
    return shlex.join(parts + [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in own.items()])


def duration_text(seconds: float) -> str:
    return f"{seconds / 60:g}m" if seconds % 60 == 0 else f"{seconds:g}s"
