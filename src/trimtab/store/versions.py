"""The version of a store: made new at today's, brought up from an earlier one, refused when a newer trimtab wrote it.

Takes an open transaction; Alembic's revisions (migrations/) are loaded only where there is something to do.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from trimtab.errors import StoreError
from trimtab.store.schema import metadata

FIRST, TODAY = "0001", "0003"


def is_today(connection: Connection) -> bool:
    return _version(connection) == TODAY


def bring_up(connection: Connection) -> None:
    """Raises StoreError for a store of a later version."""
    version = _version(connection)
    if version == TODAY:
        return
    if version is None and not inspect(connection).has_table("runs"):
        metadata.create_all(connection)
        _alembic(connection, "stamp", TODAY)
    elif version is None or version < TODAY:
        if version is None:
            _alembic(connection, "stamp", FIRST)
        _alembic(connection, "upgrade", TODAY)
    else:
        raise StoreError(
            f"this store has version {version} and this trimtab knows versions up to {TODAY}: it was written by a newer"
            " one; install that, or give another folder with --out"
        )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _alembic(connection: Connection, command: str, version: str) -> None:
    from alembic import command as commands
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    getattr(commands, command)(config, version)
