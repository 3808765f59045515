"""The commands about behaviour: card, budget, gradient-shares, adapter-scale, review. Each reads its arguments,
calls one api function and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from trimtab.cli.options import BudgetOption, Json, Out, print_json
from trimtab.spec.options import DEFAULT_OUT
from trimtab.spec.status import Level

Run = Annotated[str, typer.Argument(help="A run's id, or its beginning (see: trimtab runs).")]


def card(
    target: Annotated[str, typer.Argument(help="A run's id or its beginning; with --base also an adapter or model.")],
    budget: BudgetOption = None,
    level: Annotated[
        str,
        typer.Option(
            help=(
                "pulse: seconds, generates nothing. short: and answers neutral prompts and the task. card: everything,"
                " minutes. audit: several times that, phrasings and repeated answers."
            )
        ),
    ] = "card",
    base: Annotated[
        str | None, typer.Option(help="The base of an adapter or model that trimtab did not train.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="With --base: what it was trained on.")] = None,
    language: Annotated[str | None, typer.Option(help="en or zh; the data's own when left out.")] = None,
    probes: Annotated[Path | None, typer.Option(help="A folder of your own probes (YAML, JSONL).")] = None,
    prompts: Annotated[
        int, typer.Option(help="Ask at least so many generic prompts, whatever is known from fewer.")
    ] = 0,
    whole: Annotated[
        bool, typer.Option("--whole", help="Ask every question, also of numbers that are decided by fewer.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Also write the card as a page to this file.")] = None,
    out: Out = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """What tuning did to the model's behaviour, number by number against its base, and whether that stays inside a
    budget."""
    from trimtab.api import card as verbs
    from trimtab.cli.live import Live

    with Live(quiet=as_json) as live:
        made = verbs.card(
            target,
            budget=budget,
            level=cast(Level, level),
            base=base,
            data=data,
            language=language,
            probes=probes,
            prompts=prompts,
            whole=whole,
            page=html,
            out=out,
            watcher=live,
        )
    if as_json:
        return print_json(made)
    from trimtab.cli.show import card

    card.card(made)


budget_app = typer.Typer(no_args_is_help=True, help="Look at a budget, or check a file with limits.")
Source = Annotated[str, typer.Argument(help="tight, standard, loose, or a YAML file.")]


@budget_app.command()
def show(source: Source = "standard", as_json: Json = False) -> None:
    """The limits of a budget, and what each number is."""
    from trimtab.api import card as verbs

    limits = verbs.budget(source)
    if as_json:
        return print_json(limits)
    from trimtab.cli.show import card

    card.budget(limits)


@budget_app.command("check")
def check_file(source: Source, as_json: Json = False) -> None:
    """Whether a file is a budget; all its problems at once."""
    from trimtab.api import card as verbs

    limits = verbs.budget(source)
    if as_json:
        return print_json(limits)
    typer.echo(
        f"{source} is a budget with {len(limits['limits'])} limits, {sum(r['limit']['hard'] for r in limits['limits'])}"
        " of them hard"
    )
    for sentence in limits["broken untouched"]:
        typer.echo(f"! {sentence}")


def gradient_shares(run: Run, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Which examples a run's updates came from: consensus over time, examples that dominated, answers that may be
    wrong."""
    from trimtab.api import card as verbs

    shares = verbs.gradient_shares(run, out)
    if as_json:
        return print_json(shares)
    from trimtab.cli.show import card

    card.gradient_shares(shares)


def adapter_scale(run: Run, budget: BudgetOption = None, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """Scale an adapter from 0 to 1.25: what each part of the update gains and what it costs. No retraining."""
    from trimtab.api import card as verbs
    from trimtab.cli.live import Live

    with Live(quiet=as_json) as live:
        scaled = verbs.adapter_scale(run, budget=budget, out=out, watcher=live)
    if as_json:
        return print_json(scaled)
    from trimtab.cli.show import card

    card.adapter_scale(scaled)


def review(
    run: Run,
    other: Annotated[str | None, typer.Argument(help="Another run; without it, the run against its base.")] = None,
    n: Annotated[int, typer.Option("--n", help="How many pairs, drawn at random.", min=1, max=1000)] = 50,
    read: Annotated[
        bool, typer.Option("--read", help="Show the most changed answers instead; nothing is asked.")
    ] = False,
    label: Annotated[
        bool,
        typer.Option("--label", help="Say of single answers whether they refuse: corrects the detector on the card."),
    ] = False,
    results: Annotated[bool, typer.Option("--results", help="Only show what the votes say so far.")] = False,
    out: Out = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """Blind A/B: which of two answers is better? 1, 2, or 0 for a tie; b goes back, q stops. Started again, it goes
    on."""
    from trimtab.api import review as verbs

    if not (read or results or as_json):
        from trimtab.cli.vote import ask_labels, ask_votes

        (ask_labels if label else ask_votes)(run, other, n, out)
    session = verbs.review(run, other, n=n, out=out)
    if as_json:
        return print_json(session)
    from trimtab.cli.vote import show_changed, show_result

    show_changed(session) if read else show_result(session)
