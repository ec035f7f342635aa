"""Which run does `run` mean? Each row of the table."""

import pytest

from batchrouter.core.errors import ExitCode, InputUnfit
from batchrouter.core.options import MaxFailed
from batchrouter.core.run_choice import Comparison, choose, first_difference
from batchrouter.core.run_end import exit_code

SAME, GROWN = Comparison("same"), Comparison("grown")
DIFFERENT = Comparison("different", 7, "line 7 has changed")


@pytest.mark.parametrize(
    ("finished", "comparison", "action", "says"),
    [
        (False, SAME, "go_on", "run 3 goes on"),
        (False, GROWN, "go_on", "has lines that it has not taken in"),
        (True, SAME, "repeat", "run 3 is finished and its input unchanged: nothing to do"),
        (True, GROWN, "go_on", "has grown"),
        (True, DIFFERENT, "new", "a new run"),
    ],
)
def test_the_row_that_applies(finished: bool, comparison: Comparison, action: str, says: str) -> None:
    choice = choose(run=3, finished=finished, comparison=comparison, settings_differ="")
    assert choice.action == action
    assert says in choice.notice


@pytest.mark.parametrize("failed", [0, 2])
def test_retry_is_named_where_records_have_failed(failed: int) -> None:
    choice = choose(run=3, finished=True, comparison=SAME, settings_differ="", failed=failed)
    assert choice.notice.startswith("run 3 is finished")
    assert ("`batchrouter retry 3`" in choice.notice) == (failed > 0)


def test_a_changed_input_of_an_unfinished_run_is_refused_with_both_ways_out() -> None:
    with pytest.raises(InputUnfit) as refused:
        choose(run=3, finished=False, comparison=DIFFERENT, settings_differ="")
    assert "line 7" in refused.value.message
    assert "resume 3" in refused.value.hint
    assert "--new" in refused.value.hint


@pytest.mark.parametrize(("finished", "comparison"), [(False, SAME), (False, GROWN), (True, GROWN)])
def test_changed_settings_are_refused_while_lines_depend_on_them(finished: bool, comparison: Comparison) -> None:
    with pytest.raises(InputUnfit, match="template was 'a', is 'b'"):
        choose(run=3, finished=finished, comparison=comparison, settings_differ="template was 'a', is 'b'")


def test_a_finished_run_under_other_settings_says_how_to_run_it_again() -> None:
    choice = choose(run=3, finished=True, comparison=SAME, settings_differ="template was 'a', is 'b'")
    assert choice.action == "repeat"
    assert "--new " in choice.notice
    assert "template was 'a', is 'b'" in choice.notice


def test_the_first_difference_names_its_path_and_both_values() -> None:
    before = {"task": {"x": {"tier": "simple"}}, "template": None}
    now = {"task": {"x": {"tier": "complex"}}, "template": None}
    assert first_difference(before, now) == "task.x.tier was 'simple', is 'complex'"
    assert first_difference(before, before) == ""
    assert first_difference({}, {"system": "Be brief."}) == "system was not set, is 'Be brief.'"


@pytest.mark.parametrize(
    ("stopped", "records", "max_failed", "code"),
    [
        (ExitCode.OK, {}, None, 0),
        (ExitCode.OK, {"done": 5}, None, 0),
        (ExitCode.OK, {"done": 5, "failed": 1}, None, 3),
        (ExitCode.OK, {"done": 5, "rejected": 1}, None, 3),
        (ExitCode.OK, {"done": 99, "failed": 1}, "1%", 0),
        (ExitCode.OK, {"done": 98, "failed": 1, "rejected": 1}, "1%", 3),
        (ExitCode.OK, {"done": 5, "failed": 2}, "2", 0),
        (ExitCode.OK, {"done": 5, "queued": 2}, "2", 1),
        (ExitCode.BUDGET, {"done": 5, "queued": 2}, None, 76),
        (ExitCode.PLANNED_STOP, {"done": 5}, None, 4),
    ],
)
def test_exit_codes(stopped: ExitCode, records: dict[str, int], max_failed: str | None, code: int) -> None:
    assert exit_code(stopped, records, MaxFailed.parse(max_failed) if max_failed else None) == code


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "nan", "inf%"])
def test_what_is_no_number_of_failures(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        MaxFailed.parse(text)
