"""Deadlines: a call that takes too long ends, an answer that came while this process stood still is read."""

import asyncio
import time

import pytest

from batchrouter.gateway import deadline as deadlines
from batchrouter.gateway.deadline import Deadlines


async def test_a_block_that_takes_too_long_is_cut_off() -> None:
    with pytest.raises(TimeoutError):
        with Deadlines(0.05):
            await asyncio.Event().wait()


async def test_a_block_that_ends_in_time_is_left_in_peace() -> None:
    with Deadlines(60):
        await asyncio.sleep(0)


async def test_an_answer_that_arrived_while_the_loop_stood_still_is_read() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"paid for")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    with Deadlines(0.05):
        time.sleep(0.3)  # frozen beyond the deadline
        assert await reader.read() == b"paid for"
    writer.close()
    server.close()


async def test_a_loop_that_is_always_late_does_not_put_the_deadline_off_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "READING_S", 0.01)

    async def always_late() -> None:
        with Deadlines(0.01):
            while True:
                time.sleep(0.12)
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await always_late()


async def test_blocks_side_by_side_are_cut_off_each_in_its_time() -> None:
    deadlines = Deadlines(0.2)

    async def wait(seconds: float) -> float:
        await asyncio.sleep(seconds)
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError), deadlines:
            await asyncio.Event().wait()
        return asyncio.get_running_loop().time() - began_s

    async def end_in_time() -> None:
        with deadlines:
            await asyncio.sleep(0.05)

    *waited_s, _ = await asyncio.gather(wait(0), wait(0.1), end_in_time())
    assert all(seconds >= 0.19 for seconds in waited_s)


async def test_a_task_that_is_cancelled_as_well_stays_cancelled() -> None:
    async def wait() -> None:
        with Deadlines(0.01):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asyncio.current_task().cancel()  # type: ignore[union-attr]
                raise

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(wait())
