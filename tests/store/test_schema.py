"""The tables: a store that was brought up from the first version has exactly them, and what may be there once is."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, inspect
from sqlalchemy.exc import IntegrityError

from trimtab.store import schema
from trimtab.store.versions import FIRST, _alembic, bring_up


@pytest.fixture
def connection():
    with create_engine("sqlite://").connect() as c:
        yield c


def test_the_migrations_end_in_these_tables(connection):
    _alembic(connection, "upgrade", FIRST)
    bring_up(connection)
    assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), schema.metadata) == []
    there = inspect(connection)
    for table in schema.metadata.sorted_tables:
        key = there.get_pk_constraint(table.name)["constrained_columns"]
        assert key == [c.name for c in table.primary_key], table.name


@pytest.mark.parametrize(
    ("table", "row", "other"),
    [
        ("steps", {"run": "r", "step": 1}, {"step": 2}),
        ("decisions", {"study": "s", "place": "plan", "sentence": "", "evidence": {}}, {"place": "card"}),
        ("labels", {"run": "r", "probe": "p", "place": 0, "side": "base", "label": 1.0}, {"side": "tuned"}),
        ("study_runs", {"study": "s", "run": "r"}, {"study": "t"}),
    ],
)
def test_what_may_be_there_once(connection, table, row, other):
    schema.metadata.create_all(connection)
    held = schema.metadata.tables[table]
    connection.execute(insert(held), [row, {**row, **other}])
    with pytest.raises(IntegrityError):
        connection.execute(insert(held).values(row))


def test_a_json_column_keeps_lists_and_numbers_as_they_are(connection):
    schema.metadata.create_all(connection)
    items = [0.1, 1e-300, -3.0]
    row = {"run": "r", "step": 1, "share": 0.5, "loss": 1.0, "items": items, "pulse": {"kl": [None, 2]}}
    connection.execute(insert(schema.evaluations).values(row))
    assert dict(connection.execute(schema.evaluations.select()).one()._mapping) == row
