"""How a store of an earlier version becomes one of today: Alembic's revisions, one file each, for SQLite and
PostgreSQL."""
