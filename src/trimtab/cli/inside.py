"""`trimtab inside`: reads arguments, calls the api, prints the ladder."""

from __future__ import annotations

from typing import Annotated

import typer

from trimtab.cli.options import BudgetOption, Json, print_json, study_options
from trimtab.spec.options import StudyOptions


@study_options("on", "workers", "out")
def inside(
    run: Annotated[str, typer.Argument(help="A run's id, or its beginning.")],
    options: StudyOptions,
    budget: BudgetOption = None,
    time: Annotated[
        str | None, typer.Option(help="How long it may take, e.g. 30m; steps that do not fit are said.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a run inside its budget at the least cost: a share of the adapter, smaller steps, a pull towards the base,
    fewer places; each measured, the cheapest that is inside recommended.

    Started again it goes on where it was.
    """
    from trimtab.api.inside import inside as bring
    from trimtab.cli.live import Live
    from trimtab.spec.durations import parse

    seconds = parse(time) if time is not None else None
    with Live(quiet=as_json) as live:
        result = bring(
            run, budget=budget, seconds=seconds, out=options.out, on=options.on, workers=options.workers, watcher=live
        )
    if as_json:
        return print_json(result)
    from trimtab.cli.show.inside import ladder

    ladder(result)
