"""Progress counts what the engine tells, and says what can be expected of the rest."""

from batchrouter.ports import Observer
from batchrouter.reporting.progress import Progress

NANO = 1_000_000_000


def answered(progress: Progress, tier: str, number: int, cost_nano: int | None, baseline_nano: int | None) -> None:
    for _ in range(number):
        progress.started(tier)
        progress.ended(tier, cost_nano, retried=False)
        progress.finished(tier, "done", baseline_nano)


def test_it_is_an_observer() -> None:
    observer: Observer = Progress()
    assert observer


def test_counters_of_each_tier() -> None:
    progress = Progress()
    progress.resumed("simple", "done", 5)
    progress.resumed("simple", "queued", 2)
    progress.resumed(None, "rejected", 3)
    progress.taken_in("simple", 3, 0)
    progress.taken_in(None, 0, 1)
    progress.started("simple")
    progress.started("simple")
    progress.ended("simple", 10, retried=True)
    progress.moved("simple", "medium")
    progress.finished("medium", "failed", None)
    simple, medium = progress.tiers["simple"], progress.tiers["medium"]
    assert (simple.records, simple.done, simple.in_flight, simple.retries, simple.left) == (9, 5, 1, 1, 4)
    assert (medium.records, medium.failed, medium.left) == (1, 1, 0)
    assert (progress.rejected, progress.left, progress.cost_nano) == (4, 4, 10)


def test_each_tier_goes_on_at_its_own_cost() -> None:
    progress = Progress()
    progress.taken_in("simple", 10, 0)
    progress.taken_in("complex", 4, 0)
    assert progress.projected_nano() is None
    answered(progress, "simple", 10, 1, 100)
    assert progress.projected_nano() == 10 + 4 * 1, "nothing known of complex yet: the mean of all"
    answered(progress, "complex", 1, 1_000, 1_000)
    assert progress.projected_nano() == 10 + 4 * 1_000


def test_the_rate_is_measured_over_half_a_minute() -> None:
    progress = Progress()
    assert progress.rate(100.0) == 0.0
    answered(progress, "simple", 60, 1, 1)
    assert round(progress.rate(130.001), 3) == 2.0, "a log line every 30 s, and a little late"
    answered(progress, "simple", 30, 1, 1)
    assert round(progress.rate(160.002), 3) == 1.0
    for second in range(161, 300):
        progress.rate(float(second))
    assert progress.rate(300.0) == 0.0
    assert len(progress._samples) < 40


def test_the_outlook_in_one_line() -> None:
    progress = Progress()
    progress.rate(0.0)
    progress.taken_in("simple", 100, 0)
    answered(progress, "simple", 20, NANO, 3 * NANO)
    assert progress.line(10.0) == (
        "simple 20/100, 0 in flight, 0 retries; 2.0/s, cost ₹20.00, projected ₹100.00, saved ₹40.00, 40 s left"
    )


def test_what_is_unknown_is_not_taken_for_nothing() -> None:
    progress = Progress()
    progress.taken_in("simple", 2, 0)
    answered(progress, "simple", 1, None, None)
    outlook = progress.outlook(1.0)
    assert "1 call of unknown cost" in outlook
    assert "saved unknown" in outlook
    assert "projected" not in outlook


def test_no_baseline_means_no_saving() -> None:
    progress = Progress()
    progress.taken_in("simple", 1, 0)
    answered(progress, "simple", 1, 5, None)
    assert "saved unknown" in progress.outlook(1.0)


def test_before_the_first_record() -> None:
    assert Progress().line(0.0) == "no records yet; 0.0/s, cost ₹0.00, saved ₹0.00"
