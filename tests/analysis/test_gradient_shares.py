from trimtab.analysis.gradient_shares import histories, summary, suspects, tops


def update(step, losses, shares=None, known=()):
    examples = [{"id": i, "weight": 5, "loss": x, "known": i in known} for i, x in losses.items()]
    heard = {"examples": examples, "sizes": [1] * len(examples)}
    if shares:
        heard |= {"shares": shares, "consensus": 0.2, "signal": 1.0, "noise": 4.0}
    return {"step": step, "gradient_shares": heard}


def test_dominators_are_large_again_and_again():
    loud = [update(s, {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, [0.9, 0.05, 0.03, 0.02]) for s in (1, 2, 3)]
    found = summary(loud, [{"grad_norm": 2.0}, {"grad_norm": 0.5}, {"grad_norm": 3.0}], 1.0)
    assert [(d["ids"], d["times"]) for d in found["dominators"]] == [([0], 3)]
    assert found["clip_rate"] == 2 / 3
    assert found["series"][-1]["noise_scale"] == 4.0
    once = summary(loud[:1], [], 1.0)
    assert once["dominators"] == []
    assert tops([u["gradient_shares"] for u in loud]) == []  # of few gradients one is always large
    eight = [update(1, dict.fromkeys(range(8), 1.0), [0.6, *[0.4 / 7] * 7])]
    assert tops([u["gradient_shares"] for u in eight]) == [0.6]


def test_what_dominates_a_gradient_need_not_dominate_an_adam_update():
    quiet = [update(s, {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, [0.9, 0.05, 0.03, 0.02]) for s in (1, 2)]
    for u in quiet:
        u["gradient_shares"]["shares_adam"] = [0.25] * 4
    assert summary(quiet, [], 1.0)["dominators"] == []


def test_histories_and_suspects():
    heard = [
        update(1, {0: 3.0, 1: 2.0}, known={0})["gradient_shares"],
        update(2, {0: 0.1, 1: 2.0}, known=())["gradient_shares"],
        update(3, {0: 0.1, 1: 2.1}, known={0})["gradient_shares"],
    ]
    good, bad = histories(heard)
    assert (good["visits"], good["forgotten"], good["known"]) == (3, 1, True)
    assert good["confidence"] > bad["confidence"]
    assert good["variability"] > bad["variability"]
    assert suspects([good, bad]) == [1]
    assert suspects(histories(heard[:1])) == []  # seen once: nothing to say


def test_a_wrong_label_stands_out_beside_free_text_that_is_never_likely():
    def row(i, weight, later):
        return {"id": i, "visits": 3, "weight": weight, "later": later}

    text = [row(i, 30 + i % 7, 2.0 + 0.01 * (i % 13)) for i in range(50)]
    labels = [row(50 + i, 2, 1.2 if i in (7, 19, 33) else 0.1) for i in range(50)]
    assert set(suspects([*text, *labels])[:3]) == {57, 69, 83}
