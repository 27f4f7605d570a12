"""Tasks that let a model speak: records, settings, metrics."""

from types import SimpleNamespace

import pytest

from vidalign.common.errors import ConfigError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.registry import TASKS
from vidalign.runners.build import require_fitting


class Parrot:
    def __init__(self, texts):
        self.texts, self.given = texts, None

    def generate(self, batch, **given):
        self.given = given
        return self.texts


@pytest.mark.parametrize("name", ["captioning", "open_ended", "mvbench"])
def test_records(name):
    config = TASKS.config(name)()
    task, model = TASKS.load(name)(config), Parrot(["a dog", " "])
    said, silent = task.predict(model, {"uid": ["1", "2"]})
    assert (said.uid, said.pred_text, said.status, said.reason) == ("1", "a dog", "ok", None)
    assert silent.pred_text == " " and silent.status == "ok" and silent.reason == "nothing was said"
    assert model.given == {} and TASKS.entry(name).needs == task.needs == "generate"
    config.generation.max_new_tokens, config.generation.num_beams = 7, 3
    task.predict(model, {"uid": ["1", "2"]})
    assert model.given == {"max_new_tokens": 7, "num_beams": 3}


def test_a_benchmark_of_another_kind_is_told():
    experiment = SimpleNamespace(task=SimpleNamespace(name="captioning"))
    captions = [Sample(uid="1", dataset="c", split="v", task="caption")]
    require_fitting(experiment, "c", captions)
    with pytest.raises(ConfigError, match=r"samples of kind caption, but datasets\.nextqa holds mc_qa"):
        require_fitting(experiment, "nextqa", [*captions, Sample(uid="2", dataset="n", split="v", task="mc_qa")])
    experiment.task.name = "open_ended"
    require_fitting(experiment, "c", captions)
    experiment.task.name = "multiple_choice"
    with pytest.raises(
        ConfigError, match=r"multiple_choice scores samples of kind mc_qa, but datasets\.c holds caption"
    ):
        require_fitting(experiment, "c", captions)


def test_metrics_of_captions():
    config = TASKS.config("captioning")(meteor=False)
    task = TASKS.load("captioning")(config)
    samples = [
        Sample(uid=uid, dataset="c", split="v", task="caption", answers=texts)
        for uid, texts in (("1", ("a dog runs",)), ("2", ("two cats sleep",)))
    ]
    records = task.predict(Parrot(["A dog runs.", ""]), {"uid": ["1", "2"]})
    metrics = task.metrics(records, samples, DatasetInfo(name="c", task="caption", headline="cider"))
    assert (
        metrics["rouge_l"] == 0.5 and metrics["empty"] == 1 and metrics["left_out"].startswith("METEOR is switched off")
    )
