"""A store that an earlier trimtab wrote opens: its runs keep their ids, its studies are shown and go on.

old/store-of-0b1573a.zip was made by that commit, before stores had versions: two studies finished, one cut short
between its runs, one of `tune` cut short before its card, and a run that a limit had stopped.
"""

import json
import zipfile
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, create_engine, text
from typer.testing import CliRunner

import trimtab.store
from trimtab.cli.main import app
from trimtab.errors import StoreError
from trimtab.store import Store
from trimtab.store.versions import TODAY

OLD = Path(__file__).parent / "old" / "store-of-0b1573a.zip"
RUNS = [
    "0073dfa9-s1",
    "0b467b8e-s1",
    "0b467b8e-s2",
    "377a6a03-s11",
    "377a6a03-s12",
    "377a6a03-s13",
    "377a6a03-s21",
    "377a6a03-s22",
    "377a6a03-s23",
    "c6b133d3-s1",
    "ea7f364d-s1",
    "fa6ac5fa-s1",
    "fa6ac5fa-s2",
]
STUDIES = {"scan-145d74a9": "scan", "repeat-f69656e2": "repeat", "tune-4e7d2a7e": "tune", "tune-dd89dc24": "tune"}


@pytest.fixture
def old(tmp_path):
    with zipfile.ZipFile(OLD) as packed:
        packed.extractall(tmp_path)
    return tmp_path


@pytest.fixture(params=["file", "server"])
def opened(request, old):
    """As a file, and as the same rows on a PostgreSQL server of that time."""
    if request.param == "server":
        url = request.getfixturevalue("server_url")
        _copy(f"sqlite:///{old / 'trimtab.db'}", url)
        (old / "trimtab.db").unlink()
        (old / "store.url").write_text(url)
    return Store(old)


def _copy(old_url: str, new_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(trimtab.store.__file__).parent / "migrations"))
    held, tables = create_engine(old_url), MetaData()
    tables.reflect(held)
    with create_engine(new_url).begin() as new, held.connect() as c:
        config.attributes["connection"] = new
        command.upgrade(config, "0001")
        new.execute(text("DROP TABLE alembic_version"))  # there were no versions then
        typed = MetaData()
        typed.reflect(new)
        for name, table in typed.tables.items():
            rows = [dict(r._mapping) for r in c.execute(text(f"SELECT * FROM {name}"))]
            kinds = {k.name: str(k.type) for k in table.columns}
            for row in rows:
                row |= {k: json.loads(v) for k, v in row.items() if kinds[k] == "JSON" and v is not None}
            if rows:
                new.execute(table.insert(), rows)
            if rows and kinds.get("id") == "INTEGER":  # a server that had counted them itself would go on from there
                new.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))")
                )


def trimtab_(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_it_opens_with_the_same_runs_and_studies(opened):
    assert sorted(r.id for r in opened.runs()) == RUNS
    assert all(r.recipe.run_id == r.id for r in opened.runs())  # a setting that is new changes no id
    assert {s.id: s.kind for s in opened.studies()} == STUDIES
    assert all(s.asked.name() == s.id for s in opened.studies())  # the same question finds its study again
    steps = opened.steps("c6b133d3-s1")
    assert [s["step"] for s in steps] == [1, 2, 3, 4, 5, 6]
    assert opened.run("c6b133d3-s1").result["size"] == steps[-1]["size"]
    (first, *_), tune = opened.updates("c6b133d3-s1"), opened.study("tune-4e7d2a7e")
    assert all(e["weight"] > 0 for e in first["gradient_shares"]["examples"])
    assert tune.facts.recommendation["metric_title"] == "Exact match"
    assert tune.facts.data_profile
    assert tune.asked.machine["memory_gib"] > 0
    assert opened.study("scan-145d74a9").facts.result["words"]["unit"] == "nats/token"
    pulses = [e["pulse"] for r in RUNS for e in opened.evaluations(r)]
    assert any("kl_pulse" in p for p in pulses)
    assert not any({"kl_generic", "kl_first_token"} & p.keys() for p in pulses)
    with opened._engine.connect() as c:
        assert c.execute(text("SELECT version_num FROM alembic_version")).scalar() == TODAY
        assert c.execute(text("SELECT count(*) FROM jobs WHERE status IN ('WAITING', 'RUNNING')")).scalar() == 0


def test_its_studies_are_shown_and_reported(opened):
    out = opened.folder
    opened.close()
    told = trimtab_("study", "show", "scan", "--out", out)
    assert "learning_rate 0.01 is better than as it is: -0.182 [-0.207, -0.158] nats/token" in " ".join(told.split())
    assert "fa6ac5fa-s1" in trimtab_("compare", "fa6ac5fa-s1", "0b467b8e-s1", "--out", out)
    for study in ("scan-145d74a9", "tune-4e7d2a7e"):
        page = Path(trimtab_("report", study, "--out", out).strip()).read_text(encoding="utf-8")
        assert "nats/token" in page
    assert "tokens" in page
    assert "chat template" in page


def test_a_study_that_was_cut_short_goes_on(opened):
    out = opened.folder
    opened.close()
    told = trimtab_("study", "resume", "repeat", "--out", out)
    assert "Training 0073dfa9-s2" in told
    assert "Training 0073dfa9-s1" not in told
    assert "over 2 seeds" in told


def test_a_run_that_a_limit_had_stopped_goes_on_from_its_state(old):
    recipe = Store(old).run("ea7f364d-s1").recipe
    before = Store(old).steps("ea7f364d-s1")
    (old / "recipe.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    assert "COMPLETE" in trimtab_("train", old / "recipe.yaml", "--out", old)
    after = Store(old).steps("ea7f364d-s1")
    whole = before[:-1]  # the step at which it was stopped had not moved any weight yet
    assert after[: len(whole)] == whole
    assert [s["step"] for s in after] == list(range(1, 10))


@pytest.mark.slow
def test_a_tune_that_was_cut_short_goes_on(opened):
    out = opened.folder
    opened.close()
    told = trimtab_("study", "resume", "tune-dd", "--out", out)
    assert "Training" not in told  # its three seeds were there
    assert "Exact match: base" in told


def test_a_store_of_a_later_version_is_refused(old):
    Store(old).close()
    with create_engine(f"sqlite:///{old / 'trimtab.db'}").begin() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="written by a newer one"):
        Store(old)
