"""Acting as a user who may not write: root may write anywhere, whatever the modes say."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65_534


@contextmanager
def anothers_rights() -> Iterator[None]:
    """Root becomes nobody for the while; whoever is not root is refused by the modes as they are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="batchrouter-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def let_all_read_and_none_write(folder: Path) -> None:
    """Every file in it, and the folder itself."""
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
