"""What a run prints at its end."""

from vidalign.common.record import Record
from vidalign.runners.folder import closing_table


def test_errors_and_ranks_and_their_limits_are_no_percentages():
    shown = closing_table({"d/val": ([], {"mse": 1.5, "mse_low": 0.15, "mse_high": 2.9, "MedR": 2.0, "R@1": 0.5})})
    found = dict(line.split(maxsplit=1) for line in shown.splitlines()[1:])
    assert found == {"mse": "1.500", "mse_low": "0.150", "mse_high": "2.900", "MedR": "2.000", "R@1": "50.00 %"}


def test_what_is_said_of_failed_samples_is_so():
    failed = [Record(uid="a", status="failed", reason="no file")]
    assert "  failed (counted as wrong):" in closing_table({"d/val": (failed, {"accuracy": 0.0})})
    shown = closing_table({"d/val": (failed, {"mse": float("inf"), "answered_mse": 1.0})})
    assert "  failed (mse is infinite, answered_mse without them):" in shown and "counted as wrong" not in shown
    assert [line.split() for line in shown.splitlines()[1:3]] == [["mse", "inf"], ["answered_mse", "1.000"]]
