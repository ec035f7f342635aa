"""What an attempt is charged with: never 0 for what is not known."""

import pytest

from batchrouter.core.charging import charge
from batchrouter.core.outcome import Answer, ErrorClass, Outcome
from batchrouter.core.pricing import Prices, Usage

PRICES = Prices(1_000_000, 2_000_000, 500_000, 1_000_000)
USAGE = Usage(1000, 500)
OK = Answer("yes", "stop")


@pytest.mark.parametrize(
    ("outcome", "prices", "charged"),
    [
        (Outcome("ok", answer=OK, usage=USAGE), PRICES, (2_000_000, "table")),
        (Outcome("ok", answer=OK, usage=USAGE, reported_cost_nano=7), PRICES, (7, "gateway")),
        (Outcome("ok", answer=OK), PRICES, (99, "reserved")),
        (Outcome("ok", answer=OK, usage=USAGE), None, (None, "none")),
        (Outcome("error", ErrorClass.UNUSABLE), PRICES, (99, "reserved")),
        (Outcome("error", ErrorClass.SERVER), PRICES, (0, "none")),
        (Outcome("error", ErrorClass.CONTENT_FILTER, usage=USAGE), PRICES, (2_000_000, "table")),
        (Outcome("not_sent", ErrorClass.NOT_SENT), PRICES, (0, "none")),
        (Outcome("unknown", ErrorClass.LOST), PRICES, (99, "reserved")),
    ],
)
def test_cost_and_its_source(outcome: Outcome, prices: Prices | None, charged: tuple[int | None, str]) -> None:
    assert charge(outcome, prices, 99) == charged


def test_a_lost_call_without_any_price_is_unknown() -> None:
    assert charge(Outcome("unknown", ErrorClass.LOST), None, None) == (None, "none")
