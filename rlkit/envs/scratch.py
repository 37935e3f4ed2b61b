"""Where an environment may leave the files that it insists on writing: never the working directory.

Doom writes a configuration, MuJoCo a log. A run points here with `use(folder)`; otherwise a temporary
folder is made on demand and deleted at exit. Worker processes inherit the place through the environment.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "RLKIT_SCRATCH"
_temporary: tempfile.TemporaryDirectory[str] | None = None


@contextmanager
def use(folder: Path) -> Iterator[None]:
    """Let environments that are made inside write into `folder`, which appears when something is written."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


def folder() -> Path:
    """The place, made if it is not there."""
    global _temporary
    named = os.environ.get(_VARIABLE)
    if named:
        path = Path(named)
        path.mkdir(parents=True, exist_ok=True)
        return path
    if _temporary is None:
        _temporary = tempfile.TemporaryDirectory(prefix="rlkit-")
    return Path(_temporary.name)


@contextmanager
def working_directory(place: Path | None = None) -> Iterator[Path]:
    """Stand in `place` (or the scratch folder) for a moment, for packages that write where they stand."""
    place, before = place or folder(), Path.cwd()
    os.chdir(place)
    try:
        yield place
    finally:
        os.chdir(before)
