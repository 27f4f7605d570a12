"""The committed selection of reference cases, and proof that a wrong number in any of their outputs is noticed."""

import json
import logging
from pathlib import Path

import pytest
import torch
from adapters import bovila_models
from refcases.case import find_cases
from refcases.compare import compare, entry_for
from refcases.runner import adapters_of, run_case

GOLDEN = Path(__file__).parent / "golden"
CASES = list(find_cases(GOLDEN))
# Kinds whose smallest case does not fit into a system's share.
TOO_LARGE = {"bovila": {"end_to_end"}, "topa": {"dataset", "merge_shards", "noise_and_fusion", "train"}}
TOO_LARGE["video_panda"] = {"alignment_loss", "model_eval_generate", "model_splice", "model_train_forward", "stab_full"}
TOO_LARGE["vila"] = {
    *("eva_vit", "qformer", "t5", "state_dict_real_size", "vila_train", "vila_eval", "vila_train_loop"),
    *("vila_lora_train", "vila_lora_eval", "qvh_localizer_pretrain"),
    *("sevila_infer", "sevila_train_answerer", "sevila_train_localizer"),
}
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("vidalign").setLevel(logging.ERROR)
    yield
    logging.getLogger("vidalign").setLevel(logging.NOTSET)


@cases
def test_golden_case(case):
    outcome = run_case(case)
    assert outcome.state == "PASS", "\n".join([outcome.detail, *outcome.lines[:20]])


@cases
def test_golden_case_on_the_other_attention_path(case, monkeypatch):
    """Adapters take the fast path in float32 and the exact one in half; both must give the official numbers in both."""
    if case.system != "bovila" or ("train" not in case.kind and "infer" not in case.kind):
        pytest.skip("only whole models have two paths")
    half = bovila_models.is_half(case)
    monkeypatch.setattr(bovila_models, "is_half", lambda case: not half)
    outcome = run_case(case)
    assert outcome.state == "PASS", "\n".join([outcome.detail, *outcome.lines[:20]])


def test_selection_is_small_and_covers_the_kinds():
    for folder in filter(Path.is_dir, GOLDEN.iterdir()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size < (3_000_000 if folder.name == "bovila" else 1_500_000), folder.name
    for system, too_large in TOO_LARGE.items():
        missing = set(adapters_of(system)) - {case.kind for case in CASES if case.system == system}
        assert missing == too_large, f"{system}: only kinds that are too large may be missing"


def spoiled(tensor):
    """Copies that must not pass: zeroed, shifted by one place, scaled by 2 %."""
    yield "zeroed", torch.zeros_like(tensor)
    if tensor.numel() > 1:
        yield "shifted", tensor.flatten().roll(1).reshape(tensor.shape)
    if tensor.is_floating_point():
        yield "scaled", tensor * 1.02


@cases
def test_spoiled_results_fail(case):
    if case.kind in ("train", "infer") and case.params["tok_embeddings.weight"].dtype == torch.float16:
        pytest.skip("half-precision tolerances leave room for 2 % in places")
    expected = {name: case.tensor(name) for name in case.expected_tensors}
    for name, tensor in expected.items():
        if entry_for(name, case.json["check"])["how"] == "skip":
            continue
        for how, copy in spoiled(tensor):
            if torch.allclose(copy.double(), tensor.double(), rtol=1e-3, atol=1e-9, equal_nan=True):
                continue  # zeros, or constant along the shift: nothing was spoiled
            failures = compare(case, expected | {name: copy}).failures
            assert any(line.startswith(f"{name}:") for line in failures), f"{name} {how} passed"


def test_a_changed_setting_changes_the_result():
    """The adapter reads the case, it does not replay it: another eps or weight must give other numbers."""
    by_kind = {case.kind: case for case in CASES if case.system == "bovila"}
    for kind, path, value in (
        ("rope_rmsnorm", ("eps",), 0.5),
        ("train", ("args", "vaq"), 0.9),
        ("flipped_train", ("args", "tau"), 7.0),
        ("block", ("video_start",), 5),
        ("train_loop", ("args", "weight_decay"), 0.9),
        ("dataset", ("config", "max_seq_len"), 79),
    ):
        original = by_kind[kind]
        changed = type(original)(original.path, json.loads(json.dumps(original.json)))
        place = changed.json
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert run_case(changed).state == "FAIL", f"{kind}: {path} has no influence"


def changed_case(case, **values):
    """The case with other values at the top of its JSON."""
    return type(case)(case.path, json.loads(json.dumps(case.json)) | values)


def test_preprocess_takes_as_many_rows_as_the_case_has():
    case = next(case for case in CASES if case.label == "vila/preprocess")
    datasets = json.loads(json.dumps(case.json["datasets"]))
    for one in datasets.values():
        assert one["processed_val"] == one["processed_train"][:1]
        one["processed_val"] = one["processed_train"]
    assert run_case(changed_case(case, datasets=datasets)).state == "PASS"


def test_merged_shards_take_the_sizes_that_the_case_states():
    case = next(case for case in CASES if case.label == "bovila/merge_1_shard")
    count, dim = case.json["trainable_param_count"], case.json["params_json"]["dim"]
    wider = {"dims": {"max_feats": 6, "visual_dim": 760}, "trainable_param_count": count + 2 * dim - 8 * dim}
    assert run_case(changed_case(case, **wider)).state == "PASS"


def test_vila_writes_as_many_tokens_as_the_case_allows(shared):
    case = next(case for case in find_cases(shared / "reference/vila") if case.path.stem == "vila_ori_eval")
    hyper = json.loads(json.dumps(case.json["hyper"]))
    hyper["generate_kwargs"]["max_new_tokens"] = 3
    found = adapters_of("vila")[case.kind](changed_case(case, hyper=hyper))
    assert found["out/n_steps"] == 3 < int(case.tensor("out/n_steps"))
