import pytest

from trimtab.errors import ModelError
from trimtab.tasks import pretrained as models


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nobody/nothing-here", "hub did not give it"),
        ("./no-such-folder", "does not exist"),
        ("missing.gguf", "does not exist"),
        ("bundled:smollm", r"did you mean \"smollm2\""),
    ],
)
def test_models_that_are_not_there(model, said):
    with pytest.raises(ModelError, match=said) as error:
        models.load_tokenizer(model)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match=r"without config\.json"):
        models.load_tokenizer(str(tmp_path))


def test_facts_need_no_weights():
    facts = models.architecture("bundled:tiny")
    assert (facts["hidden_size"], facts["layers"], facts["family"]) == (64, 2, "llama")
    assert facts["parameters"] > 3_000_000


def test_a_local_folder_is_a_model(tiny_tokenizer):
    assert models.load_tokenizer(models.resolve("bundled:tiny")).chat_template == tiny_tokenizer.chat_template


def test_files_that_are_no_model_are_one_sentence(tmp_path):
    import shutil

    import torch

    whole = tmp_path / "whole"
    shutil.copytree(models.resolve("bundled:tiny"), whole)
    weights = whole / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded as a causal language model"):
        models.load_model(str(whole), torch.float32, "cpu")
    with pytest.raises(ModelError, match=r"is a file but no \.gguf"):
        models.resolve(str(weights))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and then nothing")
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.load_model(str(broken), torch.float32, "cpu")
