"""The articles' examples as recipes: they load, and say what the articles say."""

from pathlib import Path

import pytest

from trimtab.spec.workload import Workload
from trimtab.spec.yaml_file import load_recipe

FOLDER = Path(__file__).parents[2] / "examples"
SAID = {
    "sentiment_llama2": {
        "task": "text-classification", "method": "full", "learning_rate": 2e-5, "per_device_train_batch_size": 2,
        "num_train_epochs": 3, "max_length": 128, "weight_decay": 0.01, "metric_for_best_model": "f1",
    },
    "resnet18_cifar10": {
        "task": "image-classification", "learning_rate": 1e-4, "head_learning_rate": 1e-3, "weight_decay": 5e-4,
        "per_device_train_batch_size": 128, "random_crop": 4 / 32, "random_flip": True, "early_stopping_patience": 10,
        "lr_scheduler_type": "cosine", "num_train_epochs": 50, "metric_for_best_model": "accuracy",
    },
    "qwen25_7b_lora": {
        "task": "sft", "method": "lora", "learning_rate": 5e-5, "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8, "r": 8, "num_train_epochs": 3, "max_length": 4096,
    },
}  # fmt: skip


def test_every_example_is_held_beside_its_article():
    assert {p.stem for p in FOLDER.glob("*.yaml")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_an_example_says_what_its_article_says(name):
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    assert {k: getattr(recipe, k) for k in SAID[name]} == SAID[name]
    assert Workload.of_recipe(recipe, True).task == ("auto" if recipe.task == "sft" else recipe.task)
