"""The version of this program, as the database and the gateways are told it."""

VERSION = "0.1.0"
