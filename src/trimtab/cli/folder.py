"""`trimtab store`, `work` and `fetch`: where things are kept, and help for a study from another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from trimtab.cli.options import Json, Out, print_json
from trimtab.spec.options import DEFAULT_OUT


def store(
    url: Annotated[
        str | None,
        typer.Argument(
            help="postgresql+psycopg://user@host/name, to keep a new folder's store there.", show_default=False
        ),
    ] = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Where a folder's store is: a file in it, or a database server that several machines write to."""
    from trimtab.api.folder import keep_store

    typer.echo(f"{out}: {keep_store(url, out)}")


def work(
    study: Annotated[
        str | None, typer.Argument(help="A study's id, or its beginning; the newest when left out.")
    ] = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Help with a study from another machine or device: trains the cohorts that wait in its queue until none is
    left."""
    from trimtab.api import folder

    typer.echo(f"{folder.work(study, out)} cohorts trained")


def fetch(as_json: Json = False) -> None:
    """Fetch and convert the bundled models and data now (230 MB), so that later work needs no network."""
    from trimtab.api import folder
    from trimtab.spec.progress import silent

    ready = folder.fetch(silent if as_json else typer.echo)
    if as_json:
        return print_json(ready)
    for name, place in ready.items():
        typer.echo(f"{name} is ready in {place}")
