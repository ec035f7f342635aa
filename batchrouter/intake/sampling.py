"""The beginning of an input, from which the rest of it is judged."""

from __future__ import annotations

from pathlib import Path

from batchrouter.core.room import Sample
from batchrouter.intake.opener import BrokenStream, open_input
from batchrouter.intake.other_kinds import START_BYTES, refuse_other_kinds

SAMPLE_BYTES = 4 * 1024 * 1024


def sample(path: str) -> Sample:
    """The lines in the first 4 MiB of a regular file, decompressed. Raises what ``FileSource`` raises of such a file."""
    stream = open_input(path)
    data = bytearray()
    ended = False
    try:
        while not ended and len(data) < SAMPLE_BYTES:
            block = stream.read(SAMPLE_BYTES - len(data))
            data += block
            ended = not block
        read_bytes = stream.file_position()
    except BrokenStream:
        ended = True
    finally:
        stream.close()
    refuse_other_kinds(bytes(data[:START_BYTES]), path)
    file_bytes = Path(path).stat().st_size
    lines = data.split(b"\n")
    cut = b"" if ended or len(lines) == 1 else lines.pop()
    sizes = [len(line) for line in lines if line.strip()]
    return Sample(sizes, file_bytes, file_bytes if ended else read_bytes * (len(data) - len(cut)) // len(data))
