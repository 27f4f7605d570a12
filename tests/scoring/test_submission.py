"""Submission files: every chosen option under its native id, failures left out."""

import pytest

from vidalign.common.errors import ConfigError
from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.scoring.submission import submission


def test_egoschema():
    uids = ["egoschema/full/a/b", "egoschema/full/c"]
    samples = [Sample(uid=uid, dataset="egoschema", split="full", task="mc_qa", options=("x", "y")) for uid in uids]
    records = [Record(uid=uids[1], status="failed", reason="no video"), Record(uid=uids[0], pred_idx=1)]
    assert submission("answer_index", records, samples) == {"a/b": 1}
    with pytest.raises(ConfigError, match="answer_index"):
        submission("answer_indx", records, samples)
