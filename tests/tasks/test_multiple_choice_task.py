"""Records of the multiple-choice task from option scores."""

import torch

from vidalign.models.base import OptionScores
from vidalign.registry import TASKS
from vidalign.tasks.config import MultipleChoiceConfig


class Scores:
    def __init__(self, scores, uncertainty=None):
        self.result = OptionScores(scores=torch.tensor(scores), uncertainty=uncertainty)

    def score_options(self, batch):
        return self.result


def predict(scores, uncertainty=None, **batch):
    task = TASKS.load("multiple_choice")(MultipleChoiceConfig())
    return task.predict(Scores(scores, uncertainty), batch)


def test_records():
    inf = float("inf")
    uncertainty = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    records = predict(
        [[-1.0, -0.5, -inf], [-3.0, -2.0, -1.0]],
        uncertainty,
        uid=["a", "b"],
        answer_idx=torch.tensor([1, -1]),
        num_options=torch.tensor([2, 3]),
    )
    first, second = records
    assert (first.uid, first.pred_idx, first.answer_idx, first.scores) == ("a", 1, 1, (-1.0, -0.5))
    assert abs(first.uncertainty - 0.2) < 1e-6 and first.reason is None
    assert (second.pred_idx, second.answer_idx, len(second.scores)) == (2, None, 3)


def test_nan_is_chosen_and_named():
    (record,) = predict([[-1.0, float("nan"), -0.1]], uid=["a"], answer_idx=torch.tensor([0]))
    assert record.pred_idx == 1 and record.scores is None
    assert "not a finite number" in record.reason
    assert "NaN" not in record.to_json()
