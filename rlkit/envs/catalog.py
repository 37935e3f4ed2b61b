"""The ten groups of environments: whose id is it, which package brings it, what must happen before `make`.

A group is a module in `rlkit/envs/groups/` with three functions, its package imported late:

    owns(env_id) -> bool     whether the id belongs to the group, told by the name alone
    register() -> None       import the package and put the group's ids into Gymnasium's registry; idempotent
    ids() -> list[str]       the group's ids, in the order in which a person wants to read them

and, where not all of its ids need the same packages, `packages(env_id) -> tuple[str, ...]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rlkit.errors import UserError

DISTRIBUTION = "rlkit-lab"  # what pip calls us


@dataclass(frozen=True)
class Group:
    """One group. `packages` are import names; `extra` is the extra of our distribution that brings them."""

    number: int  # the order of the Gym chapter
    name: str
    title: str
    extra: str | None = None
    packages: tuple[str, ...] = ()

    @property
    def module(self) -> Any:
        return import_module(f"rlkit.envs.groups.{self.name}")

    def packages_of(self, env_id: str) -> tuple[str, ...]:
        told = getattr(self.module, "packages", None)
        return self.packages if told is None else tuple(told(env_id))

    def missing(self, env_id: str | None = None) -> list[str]:
        """The packages that are not installed: for one id, or for the group as a whole."""
        wanted = self.packages if env_id is None else self.packages_of(env_id)
        return [name for name in wanted if find_spec(name) is None]

    @property
    def install(self) -> str:
        """The line that brings what is missing."""
        return f"pip install '{DISTRIBUTION}[{self.extra}]'"


GROUPS = (
    Group(1, "classic", "Classic control"),
    Group(2, "atari", "Atari 2600", "atari", ("ale_py",)),
    Group(3, "algorithmic", "Algorithmic"),
    Group(4, "board", "Board games", "board", ("pyspiel",)),
    Group(5, "box2d", "Box2D", "box2d", ("Box2D",)),
    Group(6, "mujoco", "MuJoCo", "mujoco", ("mujoco",)),
    Group(7, "tuning", "Parameter tuning", "tuning", ("sklearn",)),
    Group(8, "toy_text", "Toy text"),
    Group(9, "pygame", "PyGame", "pygame"),
    Group(10, "doom", "Doom", "doom", ("vizdoom",)),
)


def group_of(env_id: str) -> Group | None:
    """The group that an id belongs to, if any; answered without importing any optional package."""
    return next((group for group in GROUPS if group.module.owns(env_id)), None)


def prepare(env_id: str) -> Group | None:
    """Make `gymnasium.make(env_id)` possible, in this process: in worker processes too.

    Raises UserError with the line that installs what is missing.
    """
    group = group_of(env_id)
    if group is None:
        return None
    if missing := group.missing(env_id):
        raise UserError(f"env.id={env_id} needs {' and '.join(missing)}: {group.install}")
    group.module.register()
    return group


def installed_ids() -> list[str]:
    """Every id that can be made here, group by group; imports what is installed."""
    found: list[str] = []
    for group in GROUPS:
        if group.missing():
            continue
        group.module.register()
        found += [name for name in group.module.ids() if not group.missing(name)]
    return found
