import pytest
import torch
from peft import PeftModel

from tests.weights import same_weights
from trimtab.behaviour.answering import EvaluatedModel, nll
from trimtab.errors import ModelError, StoreError
from trimtab.run.adapters import Slice
from trimtab.run.checkpoint import Checkpoints, export, load_adapter
from trimtab.run.cohort import Cohort
from trimtab.tasks.pretrained import load_model


def trained(base, recipe, data, n=3):
    cohort = Cohort(base, [recipe], data)
    member = cohort.members[0]
    for _ in range(n):
        while not member.accumulate(*cohort.forward_backward([member])[0]):
            pass
        member.update()
    return member


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"]])
def test_plain_peft_loads_the_adapter_and_gives_the_same_logits(tiny_base, small_data, recipe, tmp_path, targets):
    member = trained(tiny_base, recipe.but(target_modules=targets, learning_rate=1e-2), small_data)
    export(member, tiny_base, tmp_path / "best")
    assert sorted(p.name for p in (tmp_path / "best").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    plain = PeftModel.from_pretrained(load_model("bundled:tiny", torch.float32, "cpu"), str(tmp_path / "best"))
    ids = torch.tensor([small_data.splits["validation"][0].ids])
    member.adapter.training = False
    with torch.no_grad(), tiny_base.router.route([Slice(member.adapter, 1, ids.shape[1])]):
        ours = tiny_base.model(input_ids=ids).logits
    with torch.no_grad():
        theirs, untouched = plain(input_ids=ids).logits, tiny_base.model(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours, untouched, atol=1e-4)


def test_what_is_exported_is_loaded(tiny_base, small_data, recipe, tmp_path):
    member = trained(tiny_base, recipe, small_data)
    export(member, tiny_base, tmp_path / "a")
    again = load_adapter(tmp_path / "a", tiny_base)
    member.adapter.training = False
    rows = small_data.splits["validation"]
    assert nll(EvaluatedModel(tiny_base, again), rows) == nll(EvaluatedModel(tiny_base, member.adapter), rows)
    export(member, tiny_base, tmp_path / "b")
    assert same_weights(tmp_path / "a", tmp_path / "b")


def test_a_run_of_another_device_is_refused_in_words(tiny_base, small_data, recipe, tmp_path):
    """A card's generator has a state of 16 bytes, a processor's one of 5056."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    cohort = Cohort(tiny_base, [recipe], small_data)
    kept = Checkpoints(tmp_path, "c")
    kept.save(cohort)
    (path,) = tmp_path.glob("runs/*/state-*.safetensors")
    with safe_open(path, "pt") as header:
        said = header.metadata()
    save_file(load_file(path) | {"random": torch.zeros(16, dtype=torch.uint8)}, path, said)
    with pytest.raises(StoreError, match="another kind of device"):
        kept.restore(cohort)


def test_an_adapter_for_another_base_is_refused(tiny_base, small_data, recipe, tmp_path):
    from safetensors.torch import load_file, save_file

    export(trained(tiny_base, recipe, small_data), tiny_base, tmp_path / "a")
    path = tmp_path / "a" / "adapter_model.safetensors"
    save_file({k: torch.zeros(v.shape[0], v.shape[1] + 1) for k, v in load_file(path).items()}, path)
    with pytest.raises(ModelError, match="another base model"):
        load_adapter(tmp_path / "a", tiny_base)
