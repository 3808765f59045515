"""`trimtab study …`: reads arguments, calls one api function, prints a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trimtab.folder import DEFAULT_OUT, typed

study_app = typer.Typer(
    no_args_is_help=True,
    help="Studies: scan, ablate, batch, factorial, repeat, path, search; each answer with an interval. They stop, resume and extend.",
)
Base = Annotated[
    str,
    typer.Argument(help="The recipe to start from, a YAML file (trimtab plan --out writes one).", show_default=False),
]
Vary = Annotated[list[str], typer.Argument(help="setting=value,value …", show_default=False)]
Name = Annotated[str | None, typer.Argument(help="A study's id, or its beginning; the newest when left out.")]
Seeds = Annotated[int, typer.Option(help="Seeds of every cell.")]
Out = Annotated[Path, typer.Option(help="Folder of the store, the weights and the reports.")]
Json = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
BudgetOption = Annotated[
    str | None, typer.Option(help="tight, standard, loose, or a YAML file: a run that leaves it is stopped.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Start also more than 64 runs.")]
On = Annotated[
    str | None,
    typer.Option(help="here (this process), local (worker processes), ray, or the address of a Ray cluster."),
]
Workers = Annotated[int | None, typer.Option(help="Worker processes; not more than memory holds.", show_default=False)]
Cohort = Annotated[
    int | None,
    typer.Option(help="Runs trained together over one base, at most; 1: one after another.", show_default="8"),
]
Card = Annotated[
    str | None,
    typer.Option(
        help="Measure a card of every run: pulse, short, card or audit; attribution then knows its numbers.",
        show_default=False,
    ),
]
Trunk = Annotated[
    bool,
    typer.Option("--trunk/--no-trunk", help="Runs that differ only in length share the first steps that are the same."),
]


@study_app.command()
def scan(
    recipe: Base, vary: Vary, seeds: Seeds = 2, budget: BudgetOption = None, yes: Yes = False, on: On = None, workers: Workers = None,
    trunk: Trunk = True, cohort: Cohort = None, card: Card = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """Values of one setting, one at a time: `trimtab study scan base.yaml learning_rate=1e-4,3e-4,1e-3`."""
    _designed("scan", recipe, vary, seeds, as_json, budget=budget, yes=yes, on=on, workers=workers, cohort=cohort, out=out, trunk=trunk, card=card)  # fmt: skip


@study_app.command()
def ablate(
    recipe: Base,
    without: Annotated[str, typer.Option(help="weight_decay, warmup, dropout, scheduler, clipping, early_stopping; several with commas.")] = "",
    seeds: Seeds = 2, budget: BudgetOption = None, yes: Yes = False, on: On = None, workers: Workers = None, cohort: Cohort = None,
    card: Card = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """The recipe against itself without one part of it, for each part."""
    _designed("ablate", recipe, [without] if without else [], seeds, as_json, budget=budget, yes=yes, on=on, workers=workers, cohort=cohort, out=out, card=card)  # fmt: skip


@study_app.command()
def batch(
    recipe: Base,
    sizes: Annotated[str, typer.Argument(help="Effective batches, as in 8,16,32.", show_default=False)],
    scale_lr: Annotated[str, typer.Option(help="How the rate follows: sqrt, linear or none.")] = "sqrt",
    seeds: Seeds = 2, budget: BudgetOption = None, yes: Yes = False, on: On = None, workers: Workers = None, cohort: Cohort = None,
    card: Card = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """Effective batches against each other."""
    _designed("batch", recipe, sizes.split(","), seeds, as_json, scale_lr=scale_lr, budget=budget, yes=yes, on=on, workers=workers, cohort=cohort, out=out, card=card)  # fmt: skip


@study_app.command()
def factorial(
    recipe: Base, vary: Vary, seeds: Seeds = 1, budget: BudgetOption = None, yes: Yes = False, on: On = None, workers: Workers = None,
    trunk: Trunk = True, cohort: Cohort = None, card: Card = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """Every combination of several settings' values: how much each matters."""
    _designed("factorial", recipe, vary, seeds, as_json, budget=budget, yes=yes, on=on, workers=workers, cohort=cohort, out=out, trunk=trunk, card=card)  # fmt: skip


@study_app.command()
def repeat(
    recipe: Base, seeds: Seeds = 5, budget: BudgetOption = None, yes: Yes = False, on: On = None, workers: Workers = None,
    cohort: Cohort = None, card: Card = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """The same recipe with several seeds: is it stable?"""
    _designed("repeat", recipe, [], seeds, as_json, budget=budget, yes=yes, on=on, workers=workers, cohort=cohort, out=out, card=card)  # fmt: skip


@study_app.command()
def search(
    recipe: Base,
    space: Annotated[Path | None, typer.Option(help="YAML: setting: [values] or {low, high, log}; the plan's ranges when left out.")] = None,
    sampler: Annotated[str, typer.Option(help="tpe, gp, cmaes, nsga2 (loss and drift), random or grid.")] = "tpe",
    trials: Annotated[int, typer.Option(help="At most this many; more of them continue a search.")] = 20,
    time: Annotated[str | None, typer.Option(help="How long it may take, e.g. 30m.")] = None,
    screen: Annotated[bool, typer.Option("--screen", help="A quick look at the trials first, on their upper layers; the worse half is not trained.")] = False,
    race: Annotated[bool, typer.Option("--race/--no-race", help="Stop early what is clearly worse on the same held-out items.")] = True,
    budget: BudgetOption = None, on: On = None, workers: Workers = None, cohort: Cohort = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """A space searched by one of Optuna's samplers; losers are stopped early, what leaves the budget is no candidate."""
    how = {"budget": budget, "on": on, "workers": workers, "cohort": cohort, "out": out, "race": race}
    _do(
        lambda api, live: api.search(
            recipe,
            space=space,
            sampler=sampler,
            trials=trials,
            seconds=api.duration(time) if time else None,
            screen=screen,
            watcher=live,
            **how,
        ),
        as_json,
        out,
    )


@study_app.command()
def path(
    first: Annotated[str, typer.Argument(help="A run's id, or its beginning.", show_default=False)],
    second: Annotated[str, typer.Argument(help="Another, of the same material and seed.", show_default=False)],
    on: On = None, workers: Workers = None, cohort: Cohort = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """From one run to another, one setting at a time: which change did it."""
    how = {"on": on, "workers": workers, "cohort": cohort, "out": out}
    _do(lambda api, live: api.study_path(first, second, watcher=live, **how), as_json, out)


@study_app.command()
def resume(
    study: Name = None,
    on: On = None,
    workers: Workers = None,
    cohort: Cohort = None,
    out: Out = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """Go on with a study that was stopped or cut short, where it was."""
    how = {"on": on, "workers": workers, "cohort": cohort, "out": out}
    _do(lambda api, live: api.resume_study(study, watcher=live, **how), as_json, out)


@study_app.command()
def extend(
    study: Annotated[str, typer.Argument(help="A study's id, or its beginning.", show_default=False)],
    vary: Annotated[list[str] | None, typer.Argument(help="More values of a scan: setting=value,value", show_default=False)] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of every cell, from now on.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of a search, all in all.")] = None,
    yes: Yes = False, on: On = None, workers: Workers = None, cohort: Cohort = None, out: Out = DEFAULT_OUT, as_json: Json = False,
) -> None:  # fmt: skip
    """More seeds, values or trials; what was trained already is only looked up."""
    how = {"yes": yes, "on": on, "workers": workers, "cohort": cohort, "out": out}
    _do(
        lambda api, live: api.extend_study(study, vary or [], seeds=seeds, trials=trials, watcher=live, **how),
        as_json,
        out,
    )


@study_app.command()
def stop(study: Name = None, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Ask whoever trains a study, on this machine or another, to stop; what was trained is kept."""
    from trimtab import api

    found = api.stop_study(study, out)
    runs = len(found["stopping"])
    told = f"{found['study']} stops: {runs} run{'' if runs == 1 else 's'} not finished; go on with: {typed('study resume', found['study'], out)}"
    typer.echo(json.dumps(found) if as_json else told)


@study_app.command()
def show(study: Name = None, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """What a study found."""
    from trimtab import api

    _print(api.study_result(study, out), as_json, out)


@study_app.command("list")
def list_studies(out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Every study of a folder."""
    from trimtab import api

    rows = api.studies(out)
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    from trimtab.cli.studies import listed

    listed(rows)


@study_app.command()
def export(
    study: Annotated[str, typer.Argument(help="A study's id, or its beginning.", show_default=False)],
    file: Annotated[Path, typer.Argument(help=".csv, .parquet, .json, or .db for optuna-dashboard", show_default=False)],
    out: Out = DEFAULT_OUT,
) -> None:  # fmt: skip
    """A study's runs as a table: a row for each, with its settings and every number."""
    from trimtab import api

    typer.echo(f"{api.export_study(study, file, out)} runs in {file}")


def attribute(study: Name = None, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Which setting of a study moved which number, and how much was seed noise."""
    from trimtab import api

    found = api.attribute(study, out)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from trimtab.cli.studies import attributed

    attributed(found)


def work(study: Name = None, out: Out = DEFAULT_OUT) -> None:
    """Help with a study from another machine or card: trains the cohorts that wait in its queue until none is left."""
    from trimtab import api

    typer.echo(f"{api.work(study, out)} cohorts trained")


def store(
    url: Annotated[str | None, typer.Argument(help="postgresql+psycopg://user@host/name, to keep a new folder's store there.", show_default=False)] = None,
    out: Out = DEFAULT_OUT,
) -> None:  # fmt: skip
    """Where a folder's store is: a file in it, or a database server that several machines write to."""
    from trimtab import api

    typer.echo(f"{out}: {api.keep_store(url, out)}")


def _designed(kind: str, recipe: str, vary: Sequence[str], seeds: int, as_json: bool, **how: Any) -> None:
    _do(lambda api, live: api.study(kind, recipe, vary, seeds=seeds, watcher=live, **how), as_json, how["out"])


def _do(call: Callable[[Any, Any], Mapping[str, Any]], as_json: bool, out: Path) -> None:
    """One api call under a live display, then its result and where its pictures are."""
    from trimtab import api
    from trimtab.cli.live import Live

    with Live(quiet=as_json) as live:
        found = call(api, live)
    _print(found, as_json, out)


def _print(found: Mapping[str, Any], as_json: bool, out: Path) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from trimtab.cli.studies import result

    result(found)
    typer.echo(f"Pictures and every number: {typed('report', found['study'], out)}")
