"""The beginning of an input, from which the rest of it is judged."""

from __future__ import annotations

from pathlib import Path

from batchrouter.core.room import Sample
from batchrouter.intake.opener import BrokenStream, open_input

SAMPLE_BYTES = 4 * 1024 * 1024


def sample(path: str) -> Sample:
    """The lines of a regular file's first 4 MiB, decompressed. Raises InputMissing, or ConfigurationError."""
    stream = open_input(path)
    data = bytearray()
    try:
        while len(data) < SAMPLE_BYTES and (block := stream.read(SAMPLE_BYTES - len(data))):
            data += block
        ended = len(data) < SAMPLE_BYTES
    except BrokenStream:
        ended = True
    finally:
        read_bytes = stream.file_offset()
        stream.close()
    file_bytes = Path(path).stat().st_size
    *lines, rest = data.split(b"\n")
    if ended or not lines:
        lines.append(rest)
    sizes = [len(line) for line in lines if line.strip()]
    compressed = stream.is_compressed
    if not compressed and not ended and len(lines) > 1:
        read_bytes -= len(rest)
    return Sample(sizes, file_bytes, file_bytes if ended else min(read_bytes, file_bytes), compressed)
