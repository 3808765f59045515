from trimtab.cli.show import results


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
