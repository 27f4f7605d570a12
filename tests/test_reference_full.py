"""Every reference case whose kind has an adapter, where the shared test data are at hand.

Kinds without one are told as TODO by tests/reference.py.
"""

import logging

import pytest
from conftest import shared_folder
from refcases.case import find_cases
from refcases.runner import adapters_of, run_case

FOLDER = shared_folder()
CASES = [case for case in find_cases(FOLDER / "reference") if case.kind in adapters_of(case.system)] if FOLDER else []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_reference_case(case):
    logging.getLogger("vidalign").setLevel(logging.ERROR)
    outcome = run_case(case)
    logging.getLogger("vidalign").setLevel(logging.NOTSET)
    if outcome.state == "SKIP":
        pytest.skip(outcome.detail)
    assert outcome.state == "PASS", "\n".join([outcome.detail, *outcome.lines[:20]])


def test_reference_data_are_there(shared):
    if not (shared / "reference").is_dir():
        pytest.skip("the shared folder holds no reference data")
    assert {case.kind for case in CASES if case.system == "bovila"} == set(adapters_of("bovila"))
