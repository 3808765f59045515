"""Alembic's entry: runs the revisions over the connection that store/versions.py hands in, inside its transaction."""

from alembic import context

from trimtab.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
