"""The way of a record: taken in, queued in its lane, called under pacing and budget, settled in the ledger.

Everything from outside (clock, chance, gateway, rows) comes through ``ports``, so the same engine runs against a real
gateway and in a simulation.
"""
