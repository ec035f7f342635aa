"""What an input is by its first bytes where it is no lines of JSON: refused as a whole, not once for each line."""

from __future__ import annotations

from batchrouter.core.errors import InputUnfit

START_BYTES = 4096
"""So much of a beginning is enough."""
_BOM = b"\xef\xbb\xbf"
_DECOMPRESS = "Decompress it first; a .gz or .zst file is read as it is."
_CONVERT = "Make it UTF-8: iconv -f {encoding} -t UTF-8 FILE > NEW.jsonl"
_BINARY = (
    (b"SQLite format 3\x00", "an SQLite database", "INPUT is a file of requests; the database is named by --db."),
    (b"\x1f\x8b", "compressed with gzip", _DECOMPRESS),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _DECOMPRESS),
    (b"BZh", "compressed with bzip2", _DECOMPRESS),
    (b"\xfd7zXZ\x00", "compressed with xz", _DECOMPRESS),
    (b"PK\x03\x04", "a zip archive", "Unpack it, and name the file in it."),
    (b"\xff\xfe\x00\x00", "UTF-32 text", _CONVERT.format(encoding="UTF-32")),
    (b"\x00\x00\xfe\xff", "UTF-32 text", _CONVERT.format(encoding="UTF-32")),
    (b"\xff\xfe", "UTF-16 text", _CONVERT.format(encoding="UTF-16")),
    (b"\xfe\xff", "UTF-16 text", _CONVERT.format(encoding="UTF-16")),
)
_ARRAY = ("a JSON array", "Write each of its elements on a line of its own: jq -c '.[]' FILE > NEW.jsonl")


def refuse_other_kinds(start: bytes, name: str) -> None:
    """Raises InputUnfit where an input that begins so holds something else than an object on each line."""
    kind = next(((what, hint) for magic, what, hint in _BINARY if start.startswith(magic)), None)
    if kind is None and start.removeprefix(_BOM).lstrip().startswith(b"["):
        kind = _ARRAY
    if kind is not None:
        what, hint = kind
        raise InputUnfit(f"{name} is {what}, not a JSON object on each line", hint)
