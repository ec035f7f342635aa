"""Deadlines: a call that takes too long ends, an answer that came while this process stood still is read."""

import asyncio
import time

import pytest

from batchrouter.gateway import deadline as deadlines
from batchrouter.gateway.deadline import Deadline


async def test_a_block_that_takes_too_long_is_cut_off() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline(0.05):
            await asyncio.Event().wait()


async def test_a_block_that_ends_in_time_is_left_in_peace() -> None:
    async with Deadline(60):
        await asyncio.sleep(0)


async def test_an_answer_that_arrived_while_the_loop_stood_still_is_read() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"paid for")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with Deadline(0.05):
        time.sleep(0.3)  # frozen beyond the deadline
        assert await reader.read() == b"paid for"
    writer.close()
    server.close()


async def test_a_loop_that_is_always_late_does_not_put_the_deadline_off_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "READING_S", 0.01)

    async def always_late() -> None:
        async with Deadline(0.01):
            while True:
                time.sleep(0.12)
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await always_late()
