import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning import precedents
from trimtab.planning.precedents import (
    Precedent,
    Query,
    distance,
    family_of,
    generation_of,
    makers_own,
    nearest,
    quantile,
    rows,
)

queries = st.builds(
    Query,
    st.floats(0.05, 500),
    st.sampled_from(["llama", "qwen", None]),
    st.sampled_from(["sft", "cls", "dpo"]),
    st.sampled_from(["lora", "qlora", "full"]),
    st.sampled_from([None, 8, 64]),
)


def test_every_row_can_be_checked_and_names_its_licence():
    assert len(rows()) == 1822
    for row in rows():
        assert row.repo
        assert row.licence
        assert row.link


@given(queries)
def test_what_is_near_is_comparable_sorted_and_counted_once_a_repository(query):
    found = nearest(query)
    assert len(found) <= precedents.NEAREST
    assert [p.distance for p in found] == sorted(p.distance for p in found)
    for p in found:
        assert p.row.optimizer == "adam"
        assert (p.row.group == "full") == (query.method == "full")
        assert 0 < p.weight <= 1


def test_a_repository_with_many_files_weighs_no_more_than_its_best():
    found = nearest(Query(7, "qwen", "sft", "lora", 16))
    by = {}
    for p in found:
        by[p.row.repo] = by.get(p.row.repo, 0) + p.weight
    assert max(by.values()) <= 1
    assert max(sum(p.row.repo == r for p in found) for r in by) > 5


def test_rows_can_be_left_out():
    q = Query(7, "llama", "sft", "qlora", 16)
    assert any(p.row.repo == "artidoro/qlora" for p in nearest(q))
    assert not any(p.row.repo == "artidoro/qlora" for p in nearest(q, lambda r: r.repo == "artidoro/qlora"))


def test_the_distance_is_the_documented_one():
    row = next(r for r in rows() if r.id == "r0001")  # Llama-3.2-1B, LoRA, batch 8
    asked = Query(10, "qwen", "sft", "qlora", 16)
    assert distance(asked, row) == pytest.approx(1 / 0.4 + 0.5 + 1.0 + 0.125)
    assert distance(Query(10, "qwen", "sft", "full", 16), row) is None
    assert distance(Query(1, "llama", "cls", "lora", 8), row) is None
    assert distance(Query(1, "llama", "sft", "lora", 8), row) == 0


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.floats(0.01, 1)), min_size=1, max_size=30), st.floats(0.05, 0.95))
def test_a_weighted_quantile_splits_the_weight(pairs, share):
    some = rows()[0]
    found = [Precedent(type(some)(**{**vars(some), "learning_rate": v}), 0.0, w) for v, w in pairs]
    cut = quantile(found, share)
    total = sum(w for _, w in pairs)
    assert sum(w for v, w in pairs if v < cut * (1 - 1e-9)) <= share * total + 1e-9
    assert sum(w for v, w in pairs if v <= cut * (1 + 1e-9)) >= share * total - 1e-9
    assert quantile(found, share, "weight_of_nothing") is None


def test_makers_recipes_are_found_by_family_and_like_size():
    named = "HuggingFaceTB/SmolLM2-135M-Instruct"
    found = makers_own(Query(0.135, "smollm", "sft", "full", 64, model=named))
    assert found.repo == "huggingface/alignment-handbook"
    assert found.learning_rate == 1e-3
    assert makers_own(Query(0.135, "smollm", "sft", "lora", 64, model=named)) is None
    assert makers_own(Query(30, "smollm", "sft", "full", 64, model=named)) is None  # none of like size
    assert makers_own(Query(0.135, "smollm", "sft", "full", 64)) is None  # nobody's: no name was given


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5"),
        ("Qwen/Qwen-7B", "qwen"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek-r1-distill-qwen"),
        ("meta-llama/Meta-Llama-3-8B", "llama-3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1"),
        ("loubnabnl/smollm2-1.7B-sft", "smollm2"),
        ("allenai/OLMo-2-1124-13B", "olmo-2"),
        ("internlm/internlm2-1_8b", "internlm2"),
        ("microsoft/deberta-v3-xsmall", "deberta-v3"),
        ("bert-base-uncased", "bert"),
        ("ViT-B_16 (in21k)", "vit"),
    ],
)
def test_a_generation_is_the_name_up_to_the_size(name, generation):
    assert generation_of(name) == generation


def test_a_model_card_is_linked_as_its_own_page():
    card = next(r for r in rows() if r.path == "RikiyaT/Meta-Llama-3-8B-LoRA-test")
    assert card.link == "https://huggingface.co/RikiyaT/Meta-Llama-3-8B-LoRA-test"
    assert card.name == "RikiyaT/Meta-Llama-3-8B-LoRA-test (from meta-llama/Meta-Llama-3-8B)"


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (("HuggingFaceTB/SmolLM2-135M-Instruct", "llama"), "smollm"),
        (("my-folder", "qwen2"), "qwen"),
        (("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",), "qwen"),
        (("mistralai/Mixtral-8x7B",), "mistral"),
        (("something", "unheard"), None),
        ((None, "roberta"), "roberta"),
        (("microsoft/resnet-18",), "resnet"),
    ],
)
def test_the_family_is_read_from_the_name_then_from_the_architecture(names, family):
    assert family_of(*names) == family


def test_rates_are_never_scaled_with_the_batch():
    """Published practice does not follow it; the query's batch only moves the weights."""
    small, large = (precedents.median(nearest(Query(7, "llama", "sft", "qlora", b))) for b in (8, 64))
    assert abs(math.log10(large / small)) < 0.31
