"""rlkit: deep-RL experiments that one line trains, shows, records and resumes.

    import rlkit

    config = rlkit.compose(["agent=ppo", "env=cartpole", "seed=1"])
    run = rlkit.train(config)
    rlkit.load_run("latest").metrics()

Everything is imported when first used, so that `import rlkit` is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlkit.cli.surface import compose, load_run, load_runs, train
    from rlkit.monitor import Monitor, load_results

__all__ = ["Monitor", "__version__", "compose", "load_results", "load_run", "load_runs", "train"]

_HOMES = {
    "compose": "rlkit.cli.surface",
    "train": "rlkit.cli.surface",
    "load_run": "rlkit.cli.surface",
    "load_runs": "rlkit.cli.surface",
    "Monitor": "rlkit.monitor",
    "load_results": "rlkit.monitor",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("rlkit-lab")
        except PackageNotFoundError:  # a checkout that was not installed
            return "0+unknown"
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rlkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
