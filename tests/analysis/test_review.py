import random

import pytest

from trimtab.analysis.adapter_scale import scales
from trimtab.analysis.review import at_equal_length, draw, most_changed, needed, result, strengths
from trimtab.spec.budget import preset

PAIRS = [
    {
        "probe": "task",
        "prompt": f"p{i}",
        "reference": None,
        "first": f"a {i}",
        "second": f"b {i}" if i % 4 else f"a {i}",
    }
    for i in range(60)
]


def votes(first, second, ties=0, **more):
    return [
        {"first": "x", "second": "y", "vote": v, **more}
        for v, n in (("first", first), ("second", second), ("tie", ties))
        for _ in range(n)
    ]


def test_pairs_are_drawn_at_random_with_their_sides_and_the_same_again():
    drawn = draw(PAIRS, 20, seed=3)
    assert drawn == draw(PAIRS, 20, seed=3)
    assert len(drawn) == 20
    assert all(p["first"] != p["second"] for p in drawn)
    assert 3 < sum(p["swapped"] for p in drawn) < 17
    assert len(draw(PAIRS, 500, seed=3)) == 45


def test_a_clear_vote_is_said_and_a_close_one_is_not():
    assert "tuned is preferred" in result(votes(5, 25), ("base", "tuned"))["sentence"]
    assert "base is preferred" in result(votes(25, 5), ("base", "tuned"))["sentence"]
    close = result(votes(12, 16, 4), ("base", "tuned"))
    assert "Cannot tell yet" in close["sentence"]
    assert "about" in close["sentence"]
    assert result([], ("base", "tuned"))["sentence"] == "No vote between the two yet."


@pytest.mark.parametrize(("rate", "votes_needed"), [(0.8, 20), (0.7, 49), (0.6, 199)])
def test_votes_needed_are_those_of_the_sign_test(rate, votes_needed):
    assert needed(rate) == votes_needed
    assert needed(0.505) is None


def test_a_preference_for_length_is_taken_out():
    """Whoever is longer wins, and the second is longer more often: at equal length nobody is preferred."""
    rng = random.Random(0)
    cast = []
    for i in range(200):
        longer = "second" if i % 4 else "first"
        texts = {"first": "w" * rng.randint(10, 40), "second": "w" * rng.randint(10, 40)}
        texts[longer] = "w" * rng.randint(60, 90)
        cast.append({**texts, "vote": longer if rng.random() < 0.9 else {"first": "second", "second": "first"}[longer]})
    raw = sum(v["vote"] == "second" for v in cast) / len(cast)
    equal = at_equal_length(cast)
    assert raw > 0.65
    assert abs(equal["value"] - 0.5) < 0.12
    assert equal["low"] < 0.5 < equal["high"]
    assert at_equal_length(cast[:5]) is None


def test_strengths_order_three_models():
    rng = random.Random(1)
    prompts = [
        [("good", "fair"), ("fair", "poor"), ("good", "poor")] if rng.random() < 0.9 else [("poor", "good")]
        for _ in range(40)
    ]
    found = strengths(prompts, resamples=50)
    assert [r["name"] for r in found] == ["good", "fair", "poor"]
    assert found[0]["low"] > found[2]["high"]
    assert sum(r["value"] for r in found) == pytest.approx(0, abs=1e-9)


def test_most_changed_shares_the_fewest_words():
    pairs = [{"first": "a b c", "second": "a b c d"}, {"first": "a b c", "second": "x y"}]
    assert most_changed(pairs, 1) == [pairs[1]]


def point(scale, loss, kl):
    return {
        "scale": scale,
        "items": [loss, loss + 0.1] * 10,
        "measured": {"raw": {"kl_generic": [kl, kl * 1.1] * 12}, "level": "pulse"},
    }


def test_a_dose_says_how_much_keeps_the_gain_and_stays_inside():
    found = scales(
        [point(0.0, 2.0, 0.0), point(0.5, 1.05, 0.05), point(1.0, 1.0, 0.4), point(1.25, 1.1, 0.7)], preset()
    )
    assert found["sentence"].startswith("0.5 of the update keeps 95% of the gain")
    assert "breaks kl_generic; up to 0.5 no limit is broken" in found["sentence"]
    nothing = scales([point(0.0, 1.0, 0.0), point(1.0, 1.2, 0.4)], preset())
    assert "gained nothing" in nothing["sentence"]
