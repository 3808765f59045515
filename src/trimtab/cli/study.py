"""`trimtab study …`: reads arguments, calls one api function, prints a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

study_app = typer.Typer(
    no_args_is_help=True, help="Designed studies: scan, ablate, batch, factorial, repeat; each answer with an interval."
)
Base = Annotated[
    str,
    typer.Argument(help="The recipe to start from, a YAML file (trimtab plan --out writes one).", show_default=False),
]
Vary = Annotated[list[str], typer.Argument(help="setting=value,value …", show_default=False)]
Seeds = Annotated[int, typer.Option(help="Seeds of every cell.")]
Out = Annotated[Path, typer.Option(help="Folder of the store, the weights and the reports.")]
Json = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
BudgetOption = Annotated[
    str | None, typer.Option(help="tight, standard, loose, or a YAML file: a run that leaves it is stopped.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Start also more than 64 runs.")]
HERE = Path("trimtab-out")


@study_app.command()
def scan(
    recipe: Base,
    vary: Vary,
    seeds: Seeds = 2,
    budget: BudgetOption = None,
    yes: Yes = False,
    out: Out = HERE,
    as_json: Json = False,
) -> None:
    """Values of one setting, one at a time: `trimtab study scan base.yaml learning_rate=1e-4,3e-4,1e-3`."""
    _carry_out("scan", recipe, vary, seeds, "sqrt", budget, yes, out, as_json)


@study_app.command()
def ablate(
    recipe: Base,
    without: Annotated[str, typer.Option(help="weight_decay, warmup, dropout, scheduler, clipping, early_stopping; several with commas.")] = "",
    seeds: Seeds = 2, budget: BudgetOption = None, yes: Yes = False, out: Out = HERE, as_json: Json = False,
) -> None:  # fmt: skip
    """The recipe against itself without one part of it, for each part."""
    _carry_out("ablate", recipe, [without] if without else [], seeds, "sqrt", budget, yes, out, as_json)


@study_app.command()
def batch(
    recipe: Base,
    sizes: Annotated[str, typer.Argument(help="Effective batches, as in 8,16,32.", show_default=False)],
    scale_lr: Annotated[str, typer.Option(help="How the rate follows: sqrt, linear or none.")] = "sqrt",
    seeds: Seeds = 2, budget: BudgetOption = None, yes: Yes = False, out: Out = HERE, as_json: Json = False,
) -> None:  # fmt: skip
    """Effective batches against each other."""
    _carry_out("batch", recipe, sizes.split(","), seeds, scale_lr, budget, yes, out, as_json)


@study_app.command()
def factorial(
    recipe: Base,
    vary: Vary,
    seeds: Seeds = 1,
    budget: BudgetOption = None,
    yes: Yes = False,
    out: Out = HERE,
    as_json: Json = False,
) -> None:
    """Every combination of several settings' values: how much each matters."""
    _carry_out("factorial", recipe, vary, seeds, "sqrt", budget, yes, out, as_json)


@study_app.command()
def repeat(
    recipe: Base,
    seeds: Seeds = 5,
    budget: BudgetOption = None,
    yes: Yes = False,
    out: Out = HERE,
    as_json: Json = False,
) -> None:
    """The same recipe with several seeds: is it stable?"""
    _carry_out("repeat", recipe, [], seeds, "sqrt", budget, yes, out, as_json)


@study_app.command()
def search(
    recipe: Base,
    space: Annotated[Path | None, typer.Option(help="YAML: setting: [values] or {low, high, log}; the plan's ranges when left out.")] = None,
    sampler: Annotated[str, typer.Option(help="tpe, gp, cmaes, nsga2 (loss and drift), random or grid.")] = "tpe",
    trials: Annotated[int, typer.Option(help="At most this many; more of them continue a search.")] = 20,
    time: Annotated[str | None, typer.Option(help="How long it may take, e.g. 30m.")] = None,
    budget: BudgetOption = None, out: Out = HERE, as_json: Json = False,
) -> None:  # fmt: skip
    """A space searched by one of Optuna's samplers; losers are stopped early, what leaves the budget is no candidate."""
    from trimtab import api
    from trimtab.cli.live import Live

    with Live(quiet=as_json) as live:
        found = api.search(
            recipe, space=space, sampler=sampler, trials=trials, seconds=api.duration(time, "--time") if time else None, budget=budget,
            out=out, watcher=live,
        )  # fmt: skip
    _print(found, as_json)


@study_app.command()
def show(
    study: Annotated[str | None, typer.Argument(help="A study's id, or its beginning; the newest when left out.")] = None,
    out: Out = HERE, as_json: Json = False,
) -> None:  # fmt: skip
    """What a study found."""
    from trimtab import api

    _print(api.study_result(study, out), as_json)


def attribute(
    study: Annotated[str | None, typer.Argument(help="A study's id, or its beginning; the newest when left out.")] = None,
    out: Out = HERE, as_json: Json = False,
) -> None:  # fmt: skip
    """Which setting of a study moved which number, and how much was seed noise."""
    from trimtab import api

    found = api.attribute(study, out)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from trimtab.cli.studies import attributed

    attributed(found)


def _carry_out(
    kind: str,
    recipe: str,
    vary: Sequence[str],
    seeds: int,
    scale: str,
    budget: str | None,
    yes: bool,
    out: Path,
    as_json: bool,
) -> None:
    from trimtab import api
    from trimtab.cli.live import Live

    with Live(quiet=as_json) as live:
        found = api.study(
            kind, recipe, vary, seeds=seeds, scale_lr=scale, budget=budget, yes=yes, out=out, watcher=live
        )
    _print(found, as_json)


def _print(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from trimtab.cli.studies import result

    result(found)
