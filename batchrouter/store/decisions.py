"""Decisions that are remembered across runs: reading, trimming and clearing them."""

from __future__ import annotations

import aiosqlite


async def remembered(connection: aiosqlite.Connection, *, since: str, most: int) -> dict[bytes, str]:
    """Key -> tier of the newest decisions, the oldest first; what is older than ``since``, or too much, is forgotten."""
    await connection.execute("DELETE FROM decision_cache WHERE decided_at < ?", (since,))
    await connection.execute(
        "DELETE FROM decision_cache WHERE key IN"
        " (SELECT key FROM decision_cache ORDER BY decided_at DESC, key LIMIT -1 OFFSET ?)",
        (most,),
    )
    await connection.commit()
    rows = await connection.execute_fetchall("SELECT key, tier FROM decision_cache ORDER BY decided_at")
    return {row[0]: row[1] for row in rows}


async def forget_all(connection: aiosqlite.Connection) -> int:
    """Forget every decision; how many there were."""
    cursor = await connection.execute("DELETE FROM decision_cache")
    await connection.commit()
    return cursor.rowcount
