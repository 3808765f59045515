"""`trimtab label-errors`: reads arguments, calls the api, prints suspects."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trimtab.cli.options import Columns, Json, print_json

SHOWN = 20


def label_errors(
    model: Annotated[str, typer.Argument(help="A model that classifies: an encoder or a network that sees.")],
    data: Annotated[str, typer.Argument(help="Texts or pictures with labels.")],
    write: Annotated[
        str | None, typer.Option(help="A CSV to write: all suspects, with the rows of the original file.")
    ] = None,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """Examples whose label is likely wrong, to be looked at: each fifth is judged by a probe that never saw it."""
    from trimtab.api.label_errors import label_errors as look
    from trimtab.cli.show.plain import visible
    from trimtab.datasets.columns import columns_told, with_columns
    from trimtab.spec.progress import silent

    data, _ = with_columns(data, columns_told(columns))
    made = look(model, data, write=write, say=silent if as_json else typer.echo)
    if as_json:
        return print_json(made)
    for s in made["suspects"][:SHOWN]:
        given, likely = f"{s['given']} ({s['of_given']:.0%})", f"{s['likely']} ({s['of_likely']:.0%})"
        where = f"row {s['row']}: " if isinstance(s["row"], int) else ""
        typer.echo(f"{where}{visible(s['example'][:90])}\n    {visible(given)}, rather {visible(likely)}")
    rest = len(made["suspects"]) - SHOWN
    typer.echo((f"… {rest:,} more\n" if rest > 0 else "") + _in_words(made))


def _in_words(made: dict[str, Any]) -> str:
    count = len(made["suspects"])
    where = f"; all of them: {made['file']}" if made["file"] else "; --write suspects.csv keeps them all"
    said = f"{count:,} of {made['examples']:,} labels are suspected{where if count else ''}"
    return f"{said} (docs/classify.md says how many of such are wrong)"
