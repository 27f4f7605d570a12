"""The comparer of the reference runner: right copies pass, wrong ones fail, whatever the rule."""

import json

import numpy as np
import pytest
import reference
import torch
from refcases.case import Case, LeftOut, find_cases
from refcases.compare import compare, entry_for, has_work
from refcases.runner import run_case
from refcases.tensor_rules import compare_tensors
from safetensors.torch import save_file

CLOSE = {"match": "out/*", "how": "close", "atol": 1e-5, "rtol": 1e-4}
EXACT = {"match": "out/*", "how": "exact"}
SKIP_JSON = {"match": "json:*", "how": "skip", "why": "settings"}


def make_case(folder, check, tensors=None, name="some_case", **values):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"system": "nosuch", "kind": "nokind", "check": check, **values}))
    if tensors:
        save_file(tensors, path.with_suffix(".safetensors"))
    return Case(path)


def fails(case, got):
    return bool(compare(case, got).failures)


@pytest.fixture
def values():
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("entry", [CLOSE, EXACT, {"match": "out/*", "how": "cosine", "min": 0.9999, "rtol": 0.01}])
def test_wrong_copies_fail(tmp_path, values, entry):
    case = make_case(tmp_path, [entry, SKIP_JSON], {"out/x": values})
    assert not fails(case, {"out/x": values.clone()})
    assert not fails(case, {"out/x": values.double()})
    assert fails(case, {"out/x": torch.zeros_like(values)})
    assert fails(case, {"out/x": values.roll(1, 0)})
    assert fails(case, {"out/x": values * 1.02})
    assert fails(case, {"out/x": -values})
    assert fails(case, {"out/x": values.reshape(5, 6)})
    assert fails(case, {"out/x": values[:, :4]})
    assert fails(case, {"out/x": torch.full_like(values, float("nan"))})
    assert fails(case, {})


def test_cosine_without_rtol_ignores_the_norm(values):
    entry = {"how": "cosine", "min": 0.999}
    assert compare_tensors(values * 3, values, entry)[1] is None
    zero = torch.zeros(4)
    assert compare_tensors(zero, zero, entry)[1] is None
    assert compare_tensors(zero, torch.ones(4), entry)[1] is not None


def test_close_is_per_element_and_reports_the_largest_error():
    expected = torch.tensor([100.0, 1.0])
    entry = {"how": "close", "atol": 0.0, "rtol": 1e-3}
    assert compare_tensors([100.09, 1.0009], expected, entry)[1] is None
    assert compare_tensors([100.0, 1.09], expected, entry)[1] is not None
    error, problem = compare_tensors([100.05, 1.0], expected, entry)
    assert problem is None and error == pytest.approx(0.05)


def test_close_treats_nan_and_infinity_as_values():
    entry = {"how": "close", "atol": 1.0, "rtol": 1.0}
    nan, inf = float("nan"), float("inf")
    expected = torch.tensor([nan, inf, -inf, 1.0])
    assert compare_tensors([nan, inf, -inf, 1.5], expected, entry)[1] is None
    for wrong in ([1.0, inf, -inf, 1.0], [nan, -inf, -inf, 1.0], [nan, inf, 1e30, 1.0], [nan, inf, -inf, nan]):
        assert compare_tensors(wrong, expected, entry)[1] is not None
    assert compare_tensors([nan, inf, -inf, inf], expected, entry)[1] is not None


def test_single_number_may_have_either_shape_only_when_close():
    assert compare_tensors(torch.tensor([2.0]), torch.tensor(2.0), CLOSE)[1] is None
    assert compare_tensors(2.0, torch.tensor([2.0]), CLOSE)[1] is None
    assert compare_tensors(torch.tensor([[2.0]]), torch.tensor(2.0), CLOSE)[1] is not None
    assert compare_tensors(torch.tensor([2]), torch.tensor(2), EXACT)[1] is not None


def test_exact_ignores_the_number_type_but_no_value():
    ids = torch.tensor([[1, 0, 29909]])
    for kind in (torch.int32, torch.int64, torch.float32):
        assert compare_tensors(ids.to(kind), ids, EXACT)[1] is None
    assert compare_tensors(torch.tensor([True, False]), torch.tensor([1, 0], dtype=torch.int8), EXACT)[1] is None
    assert compare_tensors(ids.roll(1, 1), ids, EXACT)[1] is not None
    big = torch.tensor([2**60])
    assert compare_tensors(torch.tensor([2**60 + 1]), big, EXACT)[1] is not None
    assert compare_tensors(torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("nan")]), EXACT)[1] is None
    assert compare_tensors(np.array(["a"]), ids, EXACT)[1] is not None


def test_half_and_bfloat16_are_read(values):
    for kind in (torch.float16, torch.bfloat16):
        assert compare_tensors(values.to(kind), values.to(kind), EXACT)[1] is None
        assert compare_tensors(values.to(kind), values.to(kind).float(), EXACT)[1] is None


def test_first_entry_that_covers_a_name_decides(tmp_path):
    check = [{"match": "out/deep/*", "how": "skip", "why": "-"}, EXACT, SKIP_JSON]
    case = make_case(tmp_path, check, {"out/deep/er/x": torch.ones(2), "out/y": torch.ones(2)})
    assert not fails(case, {"out/y": torch.ones(2)})
    assert fails(case, {"out/deep/er/x": torch.ones(2)})
    assert entry_for("out/Deep/x", check)["how"] == "exact"  # case-sensitive
    assert entry_for("json:out/y", check)["how"] == "skip"
    assert entry_for("grad/y", check) is None


def test_uncovered_output_fails_and_inputs_need_no_entry(tmp_path):
    tensors = {"out/x": torch.ones(1), "grad/x": torch.ones(1), "in/x": torch.ones(1), "param/x": torch.ones(1)}
    case = make_case(tmp_path, [EXACT, SKIP_JSON], tensors)
    assert compare(case, {"out/x": torch.ones(1), "grad/x": torch.ones(1)}).failures == [
        "grad/x: no entry of `check` covers it"
    ]
    unclosed = make_case(tmp_path, [EXACT], {"out/x": torch.ones(1)})
    assert fails(unclosed, {"out/x": torch.ones(1)})


def json_case(tmp_path, *check, **values):
    return make_case(tmp_path, [*check, SKIP_JSON], **values)


def test_json_exact(tmp_path):
    rule = {"match": "json:expected", "how": "exact"}
    tree = {"a": [1, "x", True, None, {"q/r": 2.5}], "empty": [], "b": {"c.d": {}}}
    case = json_case(tmp_path, rule, expected=tree)
    assert not fails(case, {"json:expected": tree})
    assert not fails(case, {"json:expected": {**tree, "a": (1.0, "x", True, None, {"q/r": 2.5})}})
    for wrong in (
        {**tree, "a": [1, "x", 1, None, {"q/r": 2.5}]},
        {**tree, "a": ["x", 1, True, None, {"q/r": 2.5}]},
        {**tree, "a": [1, "x", True, None, {"q/r": 2.51}]},
        {**tree, "a": [1, "x", True, None, {"q/r": 2.5}, 3]},
        {**tree, "a": [1, "x", True, None]},
        {**tree, "a": [1, "X", True, None, {"q/r": 2.5}]},
        {**tree, "a": [1, "x", True, 0, {"q/r": 2.5}]},
        {**tree, "surplus": 1},
        {**tree, "empty": [1]},
        {"a": tree["a"], "b": tree["b"]},
        [],
    ):
        assert fails(case, {"json:expected": wrong}), wrong
    assert fails(case, {})


def test_json_parts_may_be_returned_one_by_one(tmp_path):
    rule = {"match": "json:lr/*/schedule", "how": "close", "atol": 0.0, "rtol": 1e-9}
    case = json_case(
        tmp_path, rule, lr=[{"blr": 1, "schedule": [[0, 0.1], [1, 0.2]]}, {"blr": 2, "schedule": [[0, 5]]}]
    )
    first, second = [[0, 0.1], [1, 0.2]], [[0, 5]]
    assert not fails(case, {"json:lr/0/schedule": first, "json:lr/1/schedule": second})
    assert not fails(case, {"json:lr": [{"schedule": first}, {"schedule": second, "blr": "ignored"}]})
    assert fails(case, {"json:lr/0/schedule": first})
    assert fails(case, {"json:lr": [{"schedule": first}]})
    assert fails(case, {"json:lr/0/schedule": [[0, 0.1], [1, 0.2001]], "json:lr/1/schedule": second})
    assert fails(case, {"json:lr/0/schedule": [[0, 0.1], [1, 0.2], [2, 0.3]], "json:lr/1/schedule": second})


def test_json_rule_inside_and_around_a_skipped_part(tmp_path):
    rules = (
        {"match": "json:groups/*/lr", "how": "close", "atol": 0.0, "rtol": 1e-6},
        {"match": "json:groups/*/note", "how": "skip", "why": "-"},
        {"match": "json:groups", "how": "exact"},
    )
    case = json_case(tmp_path, *rules, groups=[{"lr": 0.5, "note": "hello", "betas": [0.9, 0.95]}])
    assert not fails(case, {"json:groups": [{"lr": 0.5 + 1e-8, "betas": [0.9, 0.95]}]})
    assert not fails(case, {"json:groups": [{"lr": 0.5, "betas": [0.9, 0.95], "note": "other"}]})
    assert fails(case, {"json:groups": [{"lr": 0.51, "betas": [0.9, 0.95]}]})
    assert fails(case, {"json:groups": [{"lr": 0.5, "betas": [0.9, 0.951]}]})


def test_json_set(tmp_path):
    case = json_case(tmp_path, {"match": "json:missing", "how": "set"}, missing=["b", "a", "a", [1, 2]])
    assert not fails(case, {"json:missing": ["a", [1, 2], "b", "a"]})
    assert fails(case, {"json:missing": ["a", [2, 1], "b", "a"]})
    assert fails(case, {"json:missing": ["a", [1, 2], "b", "b"]})
    assert fails(case, {"json:missing": ["a", [1, 2], "b"]})
    assert fails(case, {})


def test_json_close_keeps_everything_but_numbers_exact(tmp_path):
    rule = {"match": "json:stats", "how": "close", "atol": 1e-6, "rtol": 0.0}
    case = json_case(tmp_path, rule, stats={"acc": 0.5, "n": 3, "name": "x", "ok": True, "nan": float("nan")})
    right = {"acc": 0.5000005, "n": 3, "name": "x", "ok": True, "nan": float("nan")}
    assert not fails(case, {"json:stats": right})
    for key, wrong in (("acc", 0.50001), ("n", 4), ("name", "y"), ("ok", False), ("nan", 0.0), ("acc", float("nan"))):
        assert fails(case, {"json:stats": {**right, key: wrong}}), key
    assert fails(case, {"json:stats": {**right, "ok": 1}})


def test_unknown_rule_fails(tmp_path):
    case = make_case(tmp_path, [{"match": "out/*", "how": "about"}, SKIP_JSON], {"out/x": torch.ones(1)})
    assert fails(case, {"out/x": torch.ones(1)})


def test_cases_are_found_in_either_layout_and_lend_parameters(tmp_path):
    lender = {"param/w": torch.ones(1), "param/v": torch.ones(1)}
    make_case(tmp_path / "sys", [SKIP_JSON], lender, name="lender")
    make_case(tmp_path / "sys", [SKIP_JSON], {"param/v": torch.zeros(1)}, name="user", params_from="lender")
    make_case(tmp_path, [SKIP_JSON], name="flat")
    (tmp_path / "index.json").write_text("[1, 2]")
    cases = {case.path.stem: case for case in find_cases(tmp_path)}
    assert set(cases) == {"lender", "user", "flat"}
    assert {name: value.item() for name, value in cases["user"].params.items()} == {"w": 1.0, "v": 0.0}
    assert not has_work(cases["lender"])
    (tmp_path / "tokenizer.model").touch()
    assert cases["user"].file("tokenizer.model") == tmp_path / "tokenizer.model"
    with pytest.raises(FileNotFoundError, match="nosuch/user needs missing.model"):
        cases["user"].file("missing.model")
    assert cases["user"].other("lender").group("param").keys() == {"w", "v"}


def test_exit_status_and_states(tmp_path, capsys):
    folder = tmp_path / "cases"
    make_case(folder, [SKIP_JSON], name="input_only")
    assert reference.main([str(folder)]) == 0
    assert "SKIP [1/1] nosuch/input_only" in capsys.readouterr().out
    make_case(folder, [EXACT, SKIP_JSON], {"out/x": torch.ones(1)}, name="no_adapter")
    assert reference.main([str(folder)]) == 1
    assert "TODO 1" in capsys.readouterr().out
    assert reference.main([str(folder), "--case", "input*"]) == 0
    assert reference.main([str(folder), "--system", "other"]) == 2
    assert reference.main([str(tmp_path / "nowhere")]) == 2


def test_an_adapter_that_raises_is_a_failure(tmp_path, monkeypatch):
    case = make_case(tmp_path, [EXACT, SKIP_JSON], {"out/x": torch.ones(1)})

    def broken(case):
        raise KeyError("lost")

    monkeypatch.setattr("refcases.runner.adapters_of", lambda system: {"nokind": broken})
    outcome = run_case(case)
    assert outcome.state == "FAIL" and "lost" in outcome.detail and any("broken" in line for line in outcome.lines)


def test_a_value_that_is_left_out_is_told_and_not_compared(tmp_path, monkeypatch):
    case = make_case(tmp_path, [EXACT, SKIP_JSON], {"out/x": torch.ones(1), "out/y": torch.ones(1)})
    got = {"out/x": torch.ones(1), "out/y": LeftOut("no Java")}
    monkeypatch.setattr("refcases.runner.adapters_of", lambda system: {"nokind": lambda case: got})
    outcome = run_case(case)
    assert outcome.state == "PASS" and outcome.detail.endswith("out/y left out: no Java")
    got["out/x"] = torch.zeros(1)
    assert run_case(case).state == "FAIL"


def test_check_that_covers_nothing_is_a_failure(tmp_path, monkeypatch):
    case = make_case(tmp_path, [EXACT, SKIP_JSON])
    monkeypatch.setattr("refcases.runner.adapters_of", lambda system: {"nokind": lambda case: {}})
    assert run_case(case).state == "FAIL"
