import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sentences import unexplained
from trimtab.planning import rate_sweep
from trimtab.planning.facts import Facts
from trimtab.planning.plan import make_plan
from trimtab.planning.rule_table import compute, table

FACTS = Facts(
    model="org/some-7b",
    model_name="some-7b",
    family="llama",
    parameters=7_000_000_000,
    hidden_size=4096,
    positions=8192,
    data="d",
    examples=10_000,
    tokens=2_000_000,
    label_tokens=900_000,
    length_99=700,
    length_max=2000,
    device="cuda",
    memory_gib=24,
    bf16=True,
)
facts = st.builds(
    lambda **k: dataclasses.replace(FACTS, **k),
    parameters=st.integers(10**7, 10**11),
    hidden_size=st.one_of(st.none(), st.integers(64, 16384)),
    examples=st.integers(8, 10**6),
    length_99=st.integers(5, 9000),
    length_max=st.integers(9000, 20000),
    positions=st.sampled_from([None, 512, 8192]),
    device=st.sampled_from(["cpu", "cuda"]),
)


def test_the_published_rules_give_the_published_values():
    recipe = make_plan(FACTS).recipe
    assert recipe.learning_rate == pytest.approx(3.6e-4 * (16 / 128) ** 0.5, rel=0.05)
    assert recipe.num_train_epochs == pytest.approx(3.3 * (10_000 / 52_000) ** -0.18, abs=0.1)
    assert (recipe.r, recipe.lora_alpha, recipe.effective_batch, recipe.max_length) == (16, 32, 16, 704)


def test_the_makers_own_recipe_overrides():
    plan = make_plan(
        dataclasses.replace(FACTS, model_name="HuggingFaceTB/SmolLM2-135M-Instruct", parameters=135_000_000)
    )
    assert plan.recipe.learning_rate == pytest.approx(1e-2 * (16 / 128) ** 0.5, rel=0.05)
    assert "alignment-handbook" in plan.settings["learning_rate"].source


def test_a_mean_length_is_of_lengths_that_were_cut():
    facts = dataclasses.replace(
        FACTS, examples=100, tokens=100 * 240, mean_cut=((64.0, 50.0), (128.0, 66.0), (4000.0, 240.0))
    )
    assert facts.mean_length_at(128) == 66
    assert facts.mean_length_at(96) == 58
    assert facts.mean_length_at(9000) == 240
    assert dataclasses.replace(facts, mean_cut=()).mean_length_at(128) == 128  # not known: at most this


def test_full_fine_tuning_wants_a_tenth():
    assert make_plan(FACTS, {"method": "full"}).recipe.learning_rate < make_plan(FACTS).recipe.learning_rate


@given(facts, st.floats(1e-6, 1e-2), st.integers(1, 64))
def test_the_users_value_always_wins_and_stays_visible(found, rate, rank):
    plan = make_plan(found, {"learning_rate": rate, "r": rank})
    assert (plan.recipe.learning_rate, plan.recipe.r) == (rate, rank)
    assert plan.settings["learning_rate"].source == "you"
    assert "the rule says" in plan.settings["learning_rate"].reason


@given(facts)
def test_every_setting_says_where_it_comes_from(found):
    plan = make_plan(found)
    for name, s in plan.settings.items():
        assert s.reason, name
        assert s.source, name
        assert getattr(plan.recipe, name, s.value) == s.value
    if found.positions:
        assert plan.recipe.max_length <= found.positions
    assert plan.recipe.effective_batch >= 4


def test_formulas_reach_nothing_else():
    assert compute("clip(2*x,0,3)", x=5) == 3
    with pytest.raises(NameError):
        compute("open('x')")
    assert table()["lora"]["rank"] == 16


@given(facts, st.integers(1, 256), st.integers(1, 64))
def test_what_follows_from_the_users_values_follows_them(found, rank, micro):
    plan = make_plan(found, {"r": rank, "per_device_train_batch_size": micro})
    assert plan.recipe.lora_alpha == 2 * rank
    reason = plan.settings["gradient_accumulation_steps"].reason
    assert reason.startswith(f"effective batch {plan.recipe.effective_batch} =")


def test_the_range_of_the_cutoff_holds_its_value():
    setting = make_plan(dataclasses.replace(FACTS, length_99=72, length_max=94)).settings["max_length"]
    assert setting.range[0] <= setting.value <= setting.range[1]


def test_a_99th_percentile_far_out_does_not_set_the_memory_of_every_run():
    plan = make_plan(dataclasses.replace(FACTS, length_95=300, length_99=5000, length_max=8000))
    assert plan.recipe.max_length == 320
    assert "drop or split" in plan.settings["max_length"].reason
    assert "cut-answers" in {c.id for c in plan.couplings}
    assert make_plan(dataclasses.replace(FACTS, length_95=300, length_99=900)).recipe.max_length == 960


def test_near_copies_warn_and_only_exact_ones_refuse():
    from trimtab.errors import PlanError

    near = make_plan(dataclasses.replace(FACTS, duplicates=0.99, exact_duplicates=0.0))
    assert any("near-copies" in w for w in near.warnings)
    with pytest.raises(PlanError, match="copies of one another"):
        make_plan(dataclasses.replace(FACTS, duplicates=1.0, exact_duplicates=1.0))


def test_a_rate_far_outside_the_band_is_said():
    assert any("your learning_rate 0.9 lies outside" in w for w in make_plan(FACTS, {"learning_rate": 0.9}).warnings)
    assert not any("lies outside" in w for w in make_plan(FACTS, {"learning_rate": 2e-4}).warnings)


@pytest.mark.parametrize(
    "change", [{}, {"risk": "tight", "difficulty": "complex"}, {"examples": 90, "tokens": 40_000}, {"task": "dpo"}]
)
def test_every_number_of_a_reason_is_an_input_or_a_rules(change):
    facts = dataclasses.replace(FACTS, **change)
    plan = make_plan(facts)
    for row in plan.as_rows():
        known = (row, dataclasses.asdict(facts), table(), {k: s.value for k, s in plan.settings.items()})
        left = unexplained(row["reason"], *known, constants=[len(rate_sweep.sweep())])
        assert left == [], (row["setting"], row["reason"], left)


def test_facts_of_an_earlier_version_are_read():
    kept = {("card" if k == "device_name" else k): v for k, v in vars(FACTS).items()}
    assert Facts.of(kept) == FACTS == Facts.of(vars(FACTS))


def test_what_only_our_own_loop_has_is_said_where_another_trains():
    elsewhere = make_plan(FACTS, {"kl_weight": 1.0, "method": "qlora"})
    assert any(w.startswith("kl_weight: only trimtab's own loop") for w in elsewhere.warnings)
    small = dataclasses.replace(FACTS, parameters=10**8, model="org/some-100m", model_name="some-100m")
    ours = make_plan(small, {"kl_weight": 1.0, "trainer": "trimtab"})
    assert not any("kl_weight" in w for w in ours.warnings)
