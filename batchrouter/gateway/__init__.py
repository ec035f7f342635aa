"""Talking to OpenAI-compatible gateways: one call out, one classified outcome back."""

from batchrouter.gateway.client import HttpGateway, open_gateway
from batchrouter.gateway.keys import read_key, read_keys
from batchrouter.gateway.probe import check_gateways

__all__ = ["HttpGateway", "check_gateways", "open_gateway", "read_key", "read_keys"]
