"""What a study says in words."""

from trimtab.tuning.study_sentences import sentence


def row(cell, need=None):
    against = {"verdict": "cannot tell yet", "need": need} if need else None
    return {"cell": cell, "against": against, "mean": 0.5, "breach": None}


def test_cells_that_lack_the_same_are_named_together_and_many_are_counted():
    few = [row("a"), row("b", "more seeds"), row("c", "more seeds"), row("d", "more examples")]
    assert "Cannot tell yet: b; c (more seeds); d (more examples)." in sentence(
        "factorial", few, None, None, None, "nats"
    )
    many = [row("a"), *(row(f"c{i}", "more seeds") for i in range(26))]
    told = sentence("factorial", many, None, None, None, "nats")
    assert "Cannot tell yet: 26 cells (more seeds)." in told
    assert "c3" not in told
