"""forecast as typed: which words become settings, which flags win, and which verb is asked."""

import json

import pytest
from typer.testing import CliRunner

from trimtab.api import forecast as verbs
from trimtab.cli.main import app


@pytest.fixture
def asked(monkeypatch):
    """What the api was asked, in place of forecasting."""
    calls = []
    for name in ("forecast", "solve", "residuals", "probe"):
        monkeypatch.setattr(verbs, name, lambda *args, _name=name, **how: calls.append((_name, args, how)) or {})
    return calls


def trimtab(*args):
    return CliRunner().invoke(app, ["forecast", *map(str, args), "--json"])


def test_a_first_word_with_a_sign_is_a_setting_else_a_file(asked):
    assert trimtab("r=8", "optim=sgd", "--model", "m").exit_code == 0
    assert trimtab("job.yaml", "r=8").exit_code == 0
    (_, first, _), (_, second, _) = asked
    assert first == (None, ["r=8", "optim=sgd"], {"model": "m"})
    assert second == ("job.yaml", ["r=8"], {})


def test_flags_have_the_names_of_transformers_and_what_nobody_typed_is_not_there(asked):
    trimtab("--model", "m", "--cutoff", 4096, "--micro-batch", 2, "--gpu", "24GB", "--instant")
    ((verb, (_, _, own), how),) = asked
    assert verb == "forecast"
    assert own == {"model": "m", "max_length": 4096, "per_device_train_batch_size": 2}
    assert (how["gpu"], how["instant"]) == ("24GB", True)


def test_solve_asks_for_one_thing_that_can_be_solved(asked):
    trimtab("--model", "m", "--solve", "cutoff")
    ((verb, args, _),) = asked
    assert (verb, args[0]) == ("solve", "cutoff")
    assert trimtab("--model", "m", "--solve", "rank").exit_code == 2


def test_the_lists_are_printed_as_data(asked, tmp_path):
    models = json.loads(trimtab("--models").output)
    assert {"name": "FacebookAI/roberta-large", "parameters": "0.36 B"} in models
    assert json.loads(trimtab("--devices").output) != models
    trimtab("--residuals", "--out", tmp_path)
    assert asked[-1][:2] == ("residuals", (tmp_path,))


def test_without_a_model_it_says_what_to_name():
    error = str(trimtab("r=8").exception)
    assert "--model" in error
