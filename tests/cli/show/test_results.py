import pytest

from tests.tuning.fake_trainer import BASE
from trimtab.cli.show import results
from trimtab.spec.status import Status
from trimtab.store import RunRow
from trimtab.tuning.summary import HEADS


def test_a_decision_is_printed_with_what_it_was_decided_on(capsys):
    kept = {
        "learning_rate": "0.001",
        "status": "COMPLETE",
        "loss": 0.2,
        "drift": 0.03,
        "kept": True,
        "note": None,
        "share": None,
        "gap": None,
        "low": None,
        "high": None,
    }
    other = {
        **kept,
        "learning_rate": "0.01",
        "kept": False,
        "loss": 0.5,
        "share": 0.5,
        "gap": 0.3,
        "low": 0.2,
        "high": 0.4,
        "status": "STOPPED",
        "note": "clearly worse",
    }
    step = {
        "title": "Learning rate",
        "sentence": "learning_rate 0.001 is kept.",
        "setting": "learning_rate",
        "table": [kept, other],
    }
    results.explained({"study": "tune-1", "status": "COMPLETE", "steps": [step]})
    text = capsys.readouterr().out
    assert "0.001 ✓" in text
    assert "+0.300 [+0.200, +0.400] at 50%" in text
    assert "STOPPED: clearly worse" in text


def ended(standing, **more):
    return {
        "standing": standing, "recipe": BASE.model_dump(mode="json"), "run": BASE.run_id, "runs": [BASE.run_id] * 3,
        "metric_title": "Exact match", "base": 0.0, "tuned": 0.3, "gain": {"value": 0.3, "low": 0.2, "high": 0.4},
        "handed_over": 0.3, "verdict": "FAIL", "limits": {"FAIL": ["refusal"], "UNDECIDED": [], "NOT MEASURED": []},
        "report": "out/report.html", **more,
    }  # fmt: skip


@pytest.mark.parametrize("standing", HEADS)
def test_the_end_of_a_tune_is_a_block_to_read_aloud(capsys, standing):
    results.recommendation(ended(standing))
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0].startswith(HEADS[standing])
    heads = [line.split(":")[0] for line in lines]
    assert heads[-4:] == ["Verdict against the budget", "Not known", "Next", "Report"]
    assert "FAIL (fail: refusal)" in lines[-4]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, f"trimtab inside {BASE.run_id}"),
        ({"inside": {"price": 900.0}}, f"trimtab inside {BASE.run_id}"),
        ({"inside": {"rungs": []}}, "no remedy brought it inside"),
    ],
)
def test_what_is_outside_is_told_the_way_inside_unless_that_was_walked(capsys, more, told):
    results.recommendation(ended("outside", **more))
    assert told in capsys.readouterr().out


def test_a_result_of_an_earlier_version_is_shown_too(capsys):
    old = ended("recommended")
    del old["limits"]
    results.recommendation(old)
    assert "Next: trimtab review" in capsys.readouterr().out


def test_what_a_run_was_held_by_stands_beside_it_where_any_was(capsys):
    def row(recipe):
        return RunRow(recipe.run_id, None, 0.0, recipe, Status.COMPLETE, None, None, 90, {"step": 90})

    results.runs([row(BASE), row(BASE.but(kl_weight=1.0, adapter_scale=0.85))])
    text = capsys.readouterr().out
    assert "besides" in text
    assert "kl_weight 1, 0.85 of the adapter" in text
    results.runs([row(BASE)])
    assert "besides" not in capsys.readouterr().out
