import pytest
import torch

from trimtab.behaviour.answering import EvaluatedModel
from trimtab.run.cohort import Cohort


@pytest.fixture
def evaluated_models(tiny_base, small_data, recipe):
    """The base; an adapter that does nothing yet; one that has been pushed far."""
    torch.manual_seed(0)
    cohort = Cohort(tiny_base, [recipe, recipe.but(seed=2)], small_data)
    still, moved = (m.adapter for m in cohort.members)
    for b in moved.B.values():
        b.data.normal_(0, 0.5)
    for a in (still, moved):
        a.training = False
    return EvaluatedModel(tiny_base), EvaluatedModel(tiny_base, still), EvaluatedModel(tiny_base, moved)
