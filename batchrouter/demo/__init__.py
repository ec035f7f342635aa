"""The demo gateway: an OpenAI-compatible HTTP server on this machine whose answers are made up.

It has its own wire code and shares nothing with the client, so that the two cannot agree on a mistake. Its ledger is
the truth about what was paid for: tests compare the costs of a run with it.
"""

from batchrouter.demo.faults import Faults
from batchrouter.demo.ledger import Ledger, ModelTotals
from batchrouter.demo.profile import DemoModel
from batchrouter.demo.server import DemoGateway, banner

__all__ = ["DemoGateway", "DemoModel", "Faults", "Ledger", "ModelTotals", "banner"]
