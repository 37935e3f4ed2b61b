"""Optional packages in tests: skipped where one is missing, unless `make test-envs` says that none may be."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

ALL = bool(os.environ.get("RLKIT_ALL_ENVS"))  # set by `make test-envs`, which installs everything


def needs(*packages: str) -> None:
    """Call at the top of a test module: skip it where a package is missing, or fail if nothing may skip."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing and ALL:
        raise RuntimeError(f"`make test-envs` installs {', '.join(missing)}, but it is not there")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed", allow_module_level=True)
