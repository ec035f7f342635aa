"""The SQLite file: its lock, its migrations, the one task that writes, and what is read from it."""
