"""The one place where an input is opened: a plain file, a compressed one, or stdin, all read as one stream of bytes.

Whatever a stream is made of, it ends in one of three ways: at its end, broken off (``BrokenStream``: what was read
before stays valid), or unreadable (``InputMissing``).
"""

from __future__ import annotations

import gzip
import io
import os
import select
import stat
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from batchrouter.core.errors import ConfigurationError, InputMissing

STDIN = "-"
_POLL_S = 0.25
_KEPT_IN_MEMORY_BYTES = 16_000_000


class BrokenStream(Exception):
    """The input ends where no input may end; the message completes "the file …"."""


class Readable(Protocol):
    """What is needed of a stream: at most ``size`` bytes from what is there, ``b""`` at the end."""

    def read1(self, size: int, /) -> bytes:
        """What one read of the source gives."""

    def close(self) -> None:
        """Give the source back."""


_Opened = tuple[Readable, dict[type[Exception], str]]


class InputStream:
    """The decompressed bytes of one input. Read by one thread at a time."""

    def __init__(
        self,
        stream: Readable,
        name: str,
        broken: dict[type[Exception], str],
        polled: _Polled | None = None,
        file: io.BufferedReader | None = None,
    ) -> None:
        self._stream = stream
        self._name = name
        self._broken = broken
        self._polled = polled
        self._file = file
        self._kept: IO[bytes] | None = None
        self._is_replaying = False

    def file_position(self) -> int:
        """How many bytes of a regular file have been taken, as they are on disk; 0 for a pipe."""
        return self._file.tell() if self._file else 0

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, ``b""`` at the end. Raises BrokenStream or InputMissing."""
        if self._is_replaying and self._kept:
            if data := self._kept.read(size):
                return data
            self.forget()
        data = self._read(size)
        if self._kept:
            self._kept.write(data)
        return data

    def keep(self) -> None:
        """Keep what is read from now on, in a file beyond some megabytes, so that ``rewind`` can give it again."""
        self._kept = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by forget

    def rewind(self) -> None:
        """Give again what was read since ``keep``, and then what follows."""
        if self._kept is None:
            raise AssertionError("nothing was kept")
        self._kept.seek(0)
        self._is_replaying = True

    def forget(self) -> None:
        """What was kept is not needed any more."""
        if self._kept:
            self._kept.close()
        self._kept, self._is_replaying = None, False

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read1(size)
        except tuple(self._broken) as error:
            reason = next(text for kind, text in self._broken.items() if isinstance(error, kind))
            raise BrokenStream(reason) from error
        except OSError as error:
            raise InputMissing(f"{self._name} cannot be read any further: {error.strerror or error}") from error

    def stop(self) -> None:
        """From another thread: a read of a pipe that waits for more ends within a quarter of a second."""
        if self._polled:
            self._polled.stop()

    def close(self) -> None:
        """Close the file. Not while another thread reads it, stdin apart."""
        self.forget()
        self._stream.close()


def open_input(path: str, stdin: BinaryIO | None = None) -> InputStream:
    """Open a path, or ``-`` for stdin (``stdin`` stands in for ``sys.stdin.buffer``).

    Raises InputMissing where there is nothing to read, ConfigurationError where a package for the format is missing.
    """
    if path == STDIN:
        return _standard_input(stdin)
    file = _open_file(path)
    polled = None if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else _Polled(file)
    source = cast("io.BufferedReader", io.BufferedReader(polled)) if polled else file
    try:
        kind = Path(path).suffix.lower() if polled else _compression(source, path)
        stream, broken = _OPENERS.get(kind, _open_plain)(source, path)
    except BaseException:
        source.close()
        raise
    return InputStream(stream, path, broken, polled, None if polled else file)


def _open_file(path: str) -> io.BufferedReader:
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        raise InputMissing(f"{path} does not exist", "check the name, and the directory you are in") from None
    except IsADirectoryError:
        raise InputMissing(f"{path} is a directory", "name one .jsonl file") from None
    except PermissionError:
        raise InputMissing(f"{path} may not be read by this user", "check its permissions") from None
    except (OSError, ValueError) as error:
        raise InputMissing(f"{path!r} cannot be opened: {error}") from error


def _open_plain(file: io.BufferedReader, _path: str) -> _Opened:
    return cast("Readable", file), {}


def _open_gzip(file: io.BufferedReader, path: str) -> _Opened:
    _check_magic(file, path, _MAGIC[".gz"], "gzip")
    damaged = "is damaged in the middle of its gzip stream"
    broken: dict[type[Exception], str] = {
        EOFError: "ends in the middle of its gzip stream",
        gzip.BadGzipFile: damaged,
        zlib.error: damaged,
    }
    return _Owner(gzip.GzipFile(fileobj=file), file), broken


def _open_zstd(file: io.BufferedReader, path: str) -> _Opened:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415
        else:
            from backports import zstd  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            f"{path}: reading .zst needs a package that is not installed", "pip install 'batchrouter[zstd]'"
        ) from None
    _check_magic(file, path, _MAGIC[".zst"], "zstd")
    broken: dict[type[Exception], str] = {
        EOFError: "ends in the middle of its zstd stream",
        zstd.ZstdError: "is damaged in the middle of its zstd stream",
    }
    return _Owner(zstd.ZstdFile(file), file), broken


_OPENERS: dict[str, Callable[[io.BufferedReader, str], _Opened]] = {".gz": _open_gzip, ".zst": _open_zstd}
_MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}


def _compression(file: io.BufferedReader, path: str) -> str:
    """The suffix that the content of a file should have; where that tells nothing, the one that it has."""
    start = _start_of(file, path)
    return next((suffix for suffix, magic in _MAGIC.items() if start.startswith(magic)), Path(path).suffix.lower())


def _start_of(file: io.BufferedReader, path: str) -> bytes:
    try:
        return file.peek(1)
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror or error}") from error


def _check_magic(file: io.BufferedReader, path: str, magic: bytes, kind: str) -> None:
    start = _start_of(file, path)[: len(magic)]
    if not start:
        raise InputMissing(f"{path} is empty, which no {kind} file is", "make it again: whatever wrote it broke off")
    if not magic.startswith(start) and not start.startswith(magic):
        raise InputMissing(f"{path} is not a {kind} file, though its name says so", "rename it to .jsonl if it is text")


class _Owner:
    """A decompressor with the file it reads, closed together."""

    def __init__(self, stream: Readable, file: io.BufferedReader) -> None:
        self._stream, self._file = stream, file

    def read1(self, size: int) -> bytes:
        return self._stream.read1(size)

    def close(self) -> None:
        self._stream.close()
        self._file.close()


def _standard_input(stdin: BinaryIO | None) -> InputStream:
    if stdin is None and sys.stdin is None:
        raise InputMissing("there is no standard input", "name a file instead of -")
    stream = stdin or sys.stdin.buffer
    try:
        polled = _Polled(io.FileIO(stream.fileno(), closefd=False))
    except (OSError, AttributeError):
        return InputStream(cast("Readable", stream), "stdin", {})  # a stand-in without a descriptor never blocks
    return InputStream(cast("Readable", io.BufferedReader(polled)), "stdin", {}, polled)


class _Polled(io.RawIOBase):
    """A pipe in short waits: a thread that blocks in read() for ever would keep the process from ending."""

    def __init__(self, file: io.BufferedReader | io.FileIO) -> None:
        self._file = file
        self._stopped = threading.Event()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        descriptor = self._file.fileno()
        while not self._stopped.is_set():
            if select.select([descriptor], [], [], _POLL_S)[0]:
                return os.readv(descriptor, [buffer])
        return 0

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._file.close()
        super().close()
