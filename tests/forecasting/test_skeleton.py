"""A model without weights: short, shared where it is shared, refused in words, and nothing of torch left changed."""

import pytest
import torch
from torch import nn
from transformers import masking_utils

from tests.forecasting.test_trace import config, work
from trimtab.errors import ForecastRefused, SpecError
from trimtab.forecasting import skeleton


def test_of_a_list_with_an_entry_a_layer_the_commonest_stays_and_the_rarer_comes_last():
    deep = config(num_hidden_layers=8)
    deep.layer_types = ["full_attention", *["sliding_attention"] * 7]
    short = skeleton.shortened(deep, 5)
    assert short.num_hidden_layers == 5
    assert short.layer_types == [*["sliding_attention"] * 4, "full_attention"]
    assert (deep.num_hidden_layers, len(deep.layer_types)) == (8, 8)


def test_a_model_on_meta_has_the_size_that_its_config_says_and_no_weights():
    """Qwen2's parameters by hand: 128 wide, 2 of 4 heads for keys, 256 inside, 2,048 words, tied or not."""
    layer = 128 * 128 + 128 + 2 * (64 * 128 + 64) + 128 * 128 + 3 * 128 * 256 + 2 * 128
    body = 8 * layer + 128 + 2048 * 128
    for tied in (True, False):
        model = skeleton.bare(config(tie_word_embeddings=tied), work(method="full"), "sft")
        assert all(p.is_meta for p in model.parameters())
        assert sum(p.numel() for p in model.parameters()) == body + (0 if tied else 2048 * 128)


def test_what_is_shared_on_meta_is_shared_afterwards():
    model = skeleton.bare(config(tie_word_embeddings=True), work(method="full"), "sft")
    before = [(n, p.shape, p.dtype, p.requires_grad) for n, p in model.named_parameters()]
    skeleton.materialise(model)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert [(n, p.shape, p.dtype, p.requires_grad) for n, p in model.named_parameters()] == before
    assert not any(t.is_meta for t in [*model.parameters(), *model.buffers()])


def test_adapters_are_trained_in_float32_and_the_base_is_not():
    model = skeleton.bare(config(), work(r=4), "sft")
    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    assert trained == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert all("lora_" in n for n, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"r": 65}, SpecError, r"r 65 is above the size of the smallest target layer \(64\); at most 64"),
        ({"target_modules": ["nothing"]}, ForecastRefused, "nothing"),
    ],
)
def test_adapters_that_cannot_be_are_refused(more, error, said):
    with pytest.raises(error, match=said):
        skeleton.bare(config(), work(**more), "sft")


def test_layers_are_the_list_of_equal_blocks_with_most_parameters():
    def tower(name, *blocks):
        return nn.ModuleDict({name: nn.ModuleList(blocks)})

    small, large = (tower(name, *(nn.Linear(n, n) for _ in range(2))) for name, n in (("layers", 2), ("h", 9)))
    towers = nn.ModuleDict({"eyes": small, "text": large, "mixed": tower("blocks", nn.Linear(99, 99), nn.ReLU())})
    assert skeleton.layers_of(towers)[0] == "text.h"
    assert skeleton.layers_of(nn.Linear(2, 2)) is None


def test_torch_answers_as_before_also_after_an_error():
    before = (torch.is_autocast_enabled, masking_utils.is_tracing)
    with pytest.raises(RuntimeError), skeleton.as_on_a_card(masked=False, autocast=False):
        assert masking_utils.is_tracing(torch.ones(1)) is False
        raise RuntimeError
    assert (torch.is_autocast_enabled, masking_utils.is_tracing) == before
    with skeleton.as_on_a_card(masked=True, autocast=True), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("cuda")
