"""How many calls are ahead with their row committed: those that leave while a commit lasts, twice."""

import pytest

from batchrouter.core.commit_lead import WINDOW_S, CommitLead


def after(lead: CommitLead, *, calls_per_s: int, commit_s: float, seconds: float, start_s: float = 0.0) -> int:
    """The lead after calls at an even pace."""
    for call in range(round(seconds * calls_per_s)):
        began_s = start_s + call / calls_per_s
        lead.committed(began_s, began_s + commit_s)
        lead.ended()
    return lead.calls


@pytest.mark.parametrize(
    ("calls_per_s", "commit_s", "expected"), [(2, 0.01, 0), (20, 0.01, 0), (100, 0.005, 1), (2_000, 0.025, 100)]
)
def test_it_is_twice_what_leaves_during_a_commit(calls_per_s: int, commit_s: float, expected: int) -> None:
    assert after(CommitLead(), calls_per_s=calls_per_s, commit_s=commit_s, seconds=3) == pytest.approx(expected, abs=2)


def test_nothing_is_ahead_before_anything_is_known() -> None:
    assert after(CommitLead(), calls_per_s=1_000, commit_s=0.02, seconds=WINDOW_S / 2) == 0


def test_calls_that_only_begin_need_none_ahead() -> None:
    lead = CommitLead()
    for call in range(1_000):
        lead.committed(call / 2_000, call / 2_000 + 0.3)
    assert lead.calls == 0


def test_it_follows_a_gateway_that_becomes_slow() -> None:
    lead = CommitLead()
    assert after(lead, calls_per_s=2_000, commit_s=0.025, seconds=1) > 90
    assert after(lead, calls_per_s=20, commit_s=0.005, seconds=1, start_s=2) == 0
