"""`trimtab predict`: reads arguments, calls the api, prints labels."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trimtab.cli.options import Json, Out, print_json
from trimtab.spec.options import DEFAULT_OUT

SHOWN = 20


def predict(
    run: Annotated[str, typer.Argument(help="A run's id, or its beginning (see: trimtab runs).")],
    texts: Annotated[
        list[str],
        typer.Argument(help="A text in quotes or a picture, several, a file (CSV, JSONL, parquet) or a folder."),
    ],
    right: Annotated[
        float, typer.Option(help="The share of answers that has to be right: less sure ones are held back.")
    ] = 0.95,
    out: Out = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """The labels of texts or pictures as a trained classifier sees them, and which of them it is sure enough of."""
    from trimtab.api.predict import predict as label
    from trimtab.cli.live import Live

    with Live(quiet=as_json) as live:
        made = label(run, texts, right=right, out=out, watcher=live)
    if as_json:
        return print_json(made)
    for row in made["rows"][:SHOWN]:
        held = "" if row["answered"] or not made["threshold"] else "  (not sure enough)"
        typer.echo(f"{row['label']}  {row['probability']:.1%}  {_plain(row['text'])}{held}")
    if len(made["rows"]) > SHOWN:
        typer.echo(f"… {len(made['rows']) - SHOWN:,} more")
    typer.echo(_in_words(made))
    if made["file"]:
        typer.echo(f"All {len(made['rows']):,} rows: {made['file']}")


def _plain(text: str) -> str:
    from trimtab.cli.show.plain import visible

    return visible(text if len(text) <= 80 else f"{text[:79]}…")


def _in_words(made: dict[str, Any]) -> str:
    from trimtab.analysis.abstain import fewest

    known = made["threshold"]
    if known is None:
        return (
            f"No sureness was shown to be right in {made['right']:.0%} of the {made['validation']} validation examples"
            f" (it takes {fewest(made['right'])} that are all right): no answer is held back, and none is vouched for"
            " (--right 0.8 asks for less)"
        )
    return (
        f"Answers from {known['sure']:.0%} sureness on were right in {known['right']['value']:.1%} of the validation"
        f" examples (at least {known['right']['below']:.1%} with 95 % confidence); {known['covered']:.0%} of them are"
        " that sure"
    )
