"""How a store's database is reached: a file in WAL mode, or a server by URL. Takes a URL, gives an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from trimtab.errors import StoreError

FILE = "store.url"


def engine(url: str) -> Engine:
    """Of a file or a server, with waiting for other writers."""
    try:
        if url.startswith("sqlite"):
            made = create_engine(url, connect_args={"timeout": 30})
            event.listen(made, "connect", _use_wal)
            return made
        # A connection that was cut is noticed before it is used, not after.
        return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4)
    except (ArgumentError, NoSuchModuleError):
        raise StoreError(
            f'"{shown(url)}" is no address of a database; give one such as postgresql+psycopg://user@host/name'
        ) from None
    except ModuleNotFoundError as error:
        raise StoreError(f"{error.name} is missing for this store; pip install 'trimtab[postgres]'") from None


def address(folder: Path) -> str | None:
    """Of the server that keeps this folder's store; None where a file in the folder does."""
    path = folder / FILE
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def keep_at(folder: Path, url: str) -> None:
    """From now on. The address may hold a password: for its owner's eyes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.touch(mode=0o600)
    path.write_text(url + "\n", encoding="utf-8")


def shown(url: str) -> str:
    """Without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def said(error: DBAPIError) -> str:
    """The database's own words, the first line."""
    return str(error.orig).strip().splitlines()[0]


def _use_wal(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing; only a power cut may
