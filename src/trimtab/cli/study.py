"""`trimtab study …`, and what looks at studies: reads arguments, calls one api function, prints a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trimtab.cli.options import Json, Out, print_json, study_options
from trimtab.spec.options import DEFAULT_OUT, StudyOptions
from trimtab.spec.progress import Progress
from trimtab.spec.study import DesignKind

study_app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Studies: scan, ablate, batch, factorial, repeat, path, search; each answer with an interval. They stop, resume"
        " and extend."
    ),
)
Base = Annotated[
    str,
    typer.Argument(help="The recipe to start from, a YAML file (trimtab plan --out writes one).", show_default=False),
]
Vary = Annotated[list[str], typer.Argument(help="setting=value,value …", show_default=False)]
Name = Annotated[str | None, typer.Argument(help="A study's id, or its beginning; the newest when left out.")]
ThisName = Annotated[str, typer.Argument(help="A study's id, or its beginning.", show_default=False)]
Seeds = Annotated[int, typer.Option(help="Seeds of every cell.")]
HOW = ("budget", "yes", "on", "workers", "cohort", "card", "out")


@study_app.command()
@study_options(*HOW, "share_start")
def scan(recipe: Base, vary: Vary, options: StudyOptions, seeds: Seeds = 2, as_json: Json = False) -> None:
    """Values of one setting, one at a time: `trimtab study scan base.yaml learning_rate=1e-4,3e-4,1e-3`."""
    _design("scan", recipe, vary, seeds, options, as_json)


@study_app.command()
@study_options(*HOW)
def ablate(
    recipe: Base,
    options: StudyOptions,
    without: Annotated[
        str,
        typer.Option(
            help="weight_decay, warmup, dropout, scheduler, clipping, early_stopping, augmentation, layer_rates,"
            " label_smoothing, class_weight; several with commas."
        ),
    ] = "",
    seeds: Seeds = 2,
    as_json: Json = False,
) -> None:
    """The recipe against itself without one part of it, for each part."""
    _design("ablate", recipe, [without] if without else [], seeds, options, as_json)


@study_app.command()
@study_options(*HOW)
def batch(
    recipe: Base,
    sizes: Annotated[str, typer.Argument(help="Effective batches, as in 8,16,32.", show_default=False)],
    options: StudyOptions,
    scale_lr: Annotated[str, typer.Option(help="How the rate follows: sqrt, linear or none.")] = "sqrt",
    seeds: Seeds = 2,
    as_json: Json = False,
) -> None:
    """Effective batches against each other."""
    _design("batch", recipe, sizes.split(","), seeds, options, as_json, scale_lr=scale_lr)


@study_app.command()
@study_options(*HOW, "share_start")
def factorial(recipe: Base, vary: Vary, options: StudyOptions, seeds: Seeds = 1, as_json: Json = False) -> None:
    """Every combination of several settings' values: how much each matters."""
    _design("factorial", recipe, vary, seeds, options, as_json)


@study_app.command()
@study_options(*HOW)
def repeat(recipe: Base, options: StudyOptions, seeds: Seeds = 5, as_json: Json = False) -> None:
    """The same recipe with several seeds: is it stable?"""
    _design("repeat", recipe, [], seeds, options, as_json)


@study_app.command()
@study_options("budget", "on", "workers", "cohort", "race", "out")
def search(
    recipe: Base,
    options: StudyOptions,
    space: Annotated[
        Path | None,
        typer.Option(help="YAML: setting: [values] or {low, high, log}; the plan's ranges when left out."),
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe, gp, cmaes, nsga2 (loss and drift), random or grid.")] = "tpe",
    trials: Annotated[int, typer.Option(help="At most this many; more of them continue a search.")] = 20,
    time: Annotated[str | None, typer.Option(help="How long it may take, e.g. 30m.")] = None,
    screen: Annotated[
        bool,
        typer.Option(
            "--screen", help="A quick look at the trials first, on their upper layers; the worse half is not trained."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """A space searched by one of Optuna's samplers; losers are stopped early, what leaves the budget is no
    candidate."""
    from trimtab.api import study
    from trimtab.spec.durations import parse

    seconds = parse(time) if time else None
    _do(
        lambda live: study.search(
            recipe,
            space=space,
            sampler=sampler,
            trials=trials,
            seconds=seconds,
            screen=screen,
            options=options,
            watcher=live,
        ),
        options,
        as_json,
    )


@study_app.command()
@study_options("on", "workers", "cohort", "out")
def path(
    first: Annotated[str, typer.Argument(help="A run's id, or its beginning.", show_default=False)],
    second: Annotated[str, typer.Argument(help="Another, of the same material and seed.", show_default=False)],
    options: StudyOptions,
    as_json: Json = False,
) -> None:
    """From one run to another, one setting at a time: which change did it."""
    from trimtab.api import study

    _do(lambda live: study.study_path(first, second, options=options, watcher=live), options, as_json)


@study_app.command()
@study_options("on", "workers", "cohort", "out")
def resume(options: StudyOptions, study: Name = None, as_json: Json = False) -> None:
    """Go on with a study that was stopped or cut short, where it was."""
    from trimtab.api import resume as verbs

    _do(lambda live: verbs.resume_study(study, options=options, watcher=live), options, as_json)


@study_app.command()
@study_options("yes", "on", "workers", "cohort", "out")
def extend(
    study: ThisName,
    options: StudyOptions,
    vary: Annotated[
        list[str] | None, typer.Argument(help="More values of a scan: setting=value,value", show_default=False)
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of every cell, from now on.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of a search, all in all.")] = None,
    as_json: Json = False,
) -> None:
    """More seeds, values or trials; what was trained already is only looked up."""
    from trimtab.api import resume as verbs

    more = {"seeds": seeds, "trials": trials}
    _do(lambda live: verbs.extend_study(study, vary or [], **more, options=options, watcher=live), options, as_json)


@study_app.command()
def stop(study: Name = None, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Ask whoever trains a study, on this machine or another, to stop; what was trained is kept."""
    from trimtab.api.resume import stop_study
    from trimtab.store.folder import typed

    stopped = stop_study(study, out)
    runs = len(stopped["stopping"])
    goes_on = typed("study resume", stopped["study"], out)
    told = f"{stopped['study']} stops: {runs} run{'' if runs == 1 else 's'} not finished; go on with: {goes_on}"
    typer.echo(json.dumps(stopped) if as_json else told)


@study_app.command()
def show(study: Name = None, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """What a study found."""
    from trimtab.api.results import study_result

    _print(study_result(study, out), as_json, out)


@study_app.command("list")
def list_studies(out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Every study of a folder."""
    from trimtab.api.results import studies

    rows = studies(out)
    if as_json:
        return print_json(rows)
    from trimtab.cli.show.study import listed

    listed(rows)


@study_app.command()
def export(
    study: ThisName,
    file: Annotated[
        Path, typer.Argument(help=".csv, .parquet, .json, or .db for optuna-dashboard", show_default=False)
    ],
    out: Out = DEFAULT_OUT,
) -> None:
    """A study's runs as a table: a row for each, with its settings and every number."""
    from trimtab.api.results import export_study

    typer.echo(f"{export_study(study, file, out)} runs in {file}")


def attribute(study: Name = None, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Which setting of a study moved which number, and how much was seed noise."""
    from trimtab.api import results

    attribution = results.attribute(study, out)
    if as_json:
        return print_json(attribution)
    from trimtab.cli.show.study import attributed

    attributed(attribution)


def _design(
    kind: DesignKind, recipe: str, vary: Sequence[str], seeds: int, options: StudyOptions, as_json: bool, **more: Any
) -> None:
    from trimtab.api import study

    _do(
        lambda live: study.study(kind, recipe, vary, seeds=seeds, **more, options=options, watcher=live),
        options,
        as_json,
    )


def _do(call: Callable[[Progress], Mapping[str, Any]], options: StudyOptions, as_json: bool) -> None:
    """One api call under a live display, then its result and where its pictures are."""
    from trimtab.cli.live import Live

    with Live(quiet=as_json) as live:
        study = call(live)
    _print(study, as_json, options.out)


def _print(study: Mapping[str, Any], as_json: bool, out: Path) -> None:
    if as_json:
        return print_json(study)
    from trimtab.store.folder import typed

    if "recipe" in study:  # of trimtab tune
        from trimtab.cli.show.results import recommendation

        return recommendation(study)
    from trimtab.cli.show.study import result

    result(study)
    typer.echo(f"Pictures and every number: {typed('report', study['study'], out)}")
