import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, make_url, text

from tests.tuning.fake_trainer import ASKED
from trimtab.errors import StoreError
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.store import Store, owner
from trimtab.store.engine import keep_at

RECIPE = Recipe(model="m", data="d")
TIMED = {"per_size": 0.5, "size": 100, "examples": 10, "micro": 4}


@pytest.fixture
def store(any_store):
    return any_store


def test_the_same_recipe_and_seed_is_the_same_run(store):
    first = store.add_run(RECIPE, "s")
    store.update_run(first.id, status=Status.COMPLETE, result={"a": 1})
    again = store.add_run(RECIPE, "other")
    assert (again.status, again.study, again.result) == (Status.COMPLETE, "s", {"a": 1})
    assert len(store.runs()) == 1
    assert again.recipe == RECIPE


def test_results_and_facts_are_merged(store):
    run = store.add_run(RECIPE).id
    store.update_run(run, result={"a": 1})
    store.update_run(run, result={"b": 2})
    assert store.run(run).result == {"a": 1, "b": 2}
    store.open_study(ASKED["tune"], "s")
    store.update_study("s", facts={"warnings": ["a"]}, seconds=3.0)
    store.update_study("s", facts={"timed": TIMED}, status=Status.COMPLETE)
    found = store.study("s")
    assert (found.facts.warnings, found.facts.timed.per_size) == (["a"], 0.5)
    assert (found.seconds, found.status) == (3.0, Status.COMPLETE)
    with pytest.raises(ValidationError):  # what no tune knows is a mistake of the program
        store.update_study("s", facts={"anything": 1})


def test_a_study_whose_process_is_gone_was_cut_short(store):
    assert not store.open_study(ASKED["tune"], "s").cut_short
    host, pid, born = owner.me().split("/")
    store.update_study("s", facts={"owner": f"{host}/{pid}/{int(born) - 50}"})
    assert store.study("s").cut_short
    store.update_study("s", facts={"owner": "elsewhere/1/1"})  # from here nobody can say
    assert not store.study("s").cut_short
    store.open_study(ASKED["tune"], "s")
    store.leave()
    assert store.study("s").cut_short
    store.update_study("s", status=Status.COMPLETE)
    assert not store.study("s").cut_short


def test_a_file_that_is_deleted_meanwhile_is_said_at_the_next_write(tmp_path):
    store = Store(tmp_path)
    run = store.add_run(RECIPE).id
    (tmp_path / "trimtab.db").unlink()
    with pytest.raises(StoreError, match="is gone: it was moved or deleted"):
        store.update_run(run, status=Status.RUNNING)


def test_a_repeated_step_or_evaluation_replaces_the_first(store):
    for loss in (3.0, 2.0):
        store.log_steps([{"run": "r", "step": 1, "loss": loss}])
        store.log_evaluation(run="r", step=1, share=0.5, loss=loss, items=[loss], pulse={})
    assert [s["loss"] for s in store.steps("r")] == [2.0]
    assert [e["items"] for e in store.evaluations("r")] == [[2.0]]


def test_a_question_keeps_its_first_answer(store):
    store.decide("s", "plan", "first", {"a": 1})
    assert store.decide("s", "plan", "second", {})["sentence"] == "first"
    assert len(store.decisions("s")) == 1


def test_what_was_written_survives_another_opening(tmp_path):
    store = Store(tmp_path)
    store.add_run(RECIPE)
    store.log_event("stopped", "why", run=RECIPE.run_id, step=3)
    store.save_card(RECIPE.run_id, {"kl": [1.0]}, {"rows": []})
    store.save_samples(RECIPE.run_id, [{"probe": "task", "prompt": "p", "base": "b", "tuned": "t", "reference": None}])
    other = Store(tmp_path, create=False)
    assert other.events(run=RECIPE.run_id)[0]["text"] == "why"
    assert other.card(RECIPE.run_id)["measured"] == {"kl": [1.0]}
    assert other.samples(RECIPE.run_id)[0]["tuned"] == "t"


def test_wal(tmp_path):
    Store(tmp_path)
    with create_engine(f"sqlite:///{tmp_path / 'trimtab.db'}").connect() as c:
        assert c.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_runs_are_found_by_a_beginning(store):
    run = store.add_run(RECIPE).id
    store.add_run(RECIPE.but(seed=2))
    assert store.find_run(run).id == run
    with pytest.raises(StoreError, match="names 2 runs"):
        store.find_run(run[:5])
    with pytest.raises(StoreError, match="did you mean"):
        store.find_run("x" + run)


def test_no_store_there(tmp_path):
    with pytest.raises(StoreError, match="holds no trimtab store"):
        Store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_run_that_goes_on_forgets_what_was_measured_of_it(store):
    run = store.add_run(RECIPE).id
    store.update_run(run, result={"best_loss": 1.0, "task": {"exact_match": [1.0]}, "answers": ["a"]})
    store.save_card(run, {}, {})
    store.forget_measurements(run)
    assert store.run(run).result == {"best_loss": 1.0}
    assert store.card(run) is None


def test_a_folder_whose_store_is_on_a_server(tmp_path, server_url):
    keep_at(tmp_path, server_url)
    Store(tmp_path).add_run(RECIPE)
    assert not (tmp_path / "trimtab.db").exists()
    assert [r.id for r in Store(tmp_path, create=False).runs()] == [RECIPE.run_id]


def test_a_connection_that_is_cut_is_made_again(server, server_url):
    store = Store(url=server_url)
    store.add_run(RECIPE)
    with create_engine(server, isolation_level="AUTOCOMMIT").connect() as c:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        assert c.execute(text(cut), {"name": make_url(server_url).database}).all()
    assert [r.id for r in store.runs()] == [RECIPE.run_id]
    store.update_run(RECIPE.run_id, status=Status.COMPLETE)


def test_a_server_that_is_not_there_and_an_address_that_is_none():
    with pytest.raises(
        StoreError, match=r"postgresql\+psycopg://me:\*\*\*@localhost:1/x cannot be opened: .*its server is there"
    ):
        Store(url="postgresql+psycopg://me:secret@localhost:1/x")
    with pytest.raises(StoreError, match="is no address of a database"):
        Store(url="nonsense")


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "trimtab.db").write_text("garbage" * 200)
    with pytest.raises(StoreError, match="is no store, or is damaged"):
        Store(tmp_path)
