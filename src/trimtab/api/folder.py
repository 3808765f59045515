"""The verbs about where things are: keep_store, work, fetch. Plain values in, plain data out."""

from __future__ import annotations

from pathlib import Path

from trimtab.spec.options import DEFAULT_OUT
from trimtab.spec.progress import Say, silent
from trimtab.store.folder import move_store, opened


def keep_store(url: str | None, out: str | Path = DEFAULT_OUT) -> str:
    """Where this folder's store is; with `url`, where it is from now on (a server for several machines). Raises
    StoreError."""
    return move_store(Path(out), url)


def work(study: str | None = None, out: str | Path = DEFAULT_OUT) -> int:
    """Trains what waits in a study's queue until nothing does; gives the number of cohorts. For a second machine or
    device."""
    from trimtab.workers import worker_process

    with opened(out, create=False) as store:
        row = store.find_study(study)
    return worker_process.serve(out, row.id)


def fetch(say: Say = silent) -> dict[str, str]:
    """The bundled models and data, fetched and converted now (230 MB), by name: where they lie. AssetError where they
    cannot be had."""
    from trimtab.datasets.assets import fetch as fetch_asset
    from trimtab.tasks.pretrained import resolve

    data = {"bundled:home-commands": "home-commands", "bundled:questions": "labelled-texts"}
    ready = {name: str(fetch_asset(asset, say)) for name, asset in data.items()}
    models = ("smollm2", "tiny", "minilm", "squeezenet", "efficientnet-lite0")
    return ready | {name: resolve(name, say) for name in (f"bundled:{model}" for model in models)}
