"""Names that configurations may use, and the installed or explicitly imported code behind them.

A target is the object itself or "module:attribute", imported only when asked for, so that knowing a
name costs nothing. Plugins add their own:

    from rlkit.registry import agents, wrappers
    agents.add("mine", "my_pkg.agent:MyAgent")

    @wrappers.add("noisy")
    class Noisy(gymnasium.Wrapper): ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from rlkit import importing
from rlkit.errors import UserError

T = TypeVar("T")

_MANY = 12  # names that are too many for a sentence


class Registry:
    """Names of one kind of thing. `kind` is the word that messages use."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._targets: dict[str, Any] = {}

    def add(self, name: str, target: Any = None) -> Any:
        """Give `target` a name; without a target, a decorator. A name taken by something else is refused."""
        if target is None:
            return self._decorator(name)
        if self._targets.setdefault(name, target) is not target and not self._same(name, target):
            raise UserError(f"the {self.kind} {name!r} is already {self._text(name)}; choose another name.")
        return target

    def get(self, name: str) -> Any:
        """The object behind a name; UserError with the nearest names if there is none."""
        if name not in self._targets:
            near = self.nearest(name)
            meant = (
                f"did you mean {near[0]}?" if near else "your own is registered by a module in plugins=[…]."
            )
            known = f" (known: {', '.join(self.names())})" if len(self._targets) <= _MANY else ""
            raise UserError(f"there is no {self.kind} {name!r}{known}; {meant}")
        target = self._targets[name]
        if isinstance(target, str):
            target = importing.attribute(target, f"the {self.kind} {name!r}")
        return target

    def names(self) -> list[str]:
        return sorted(self._targets)

    def nearest(self, name: str, count: int = 3) -> list[str]:
        return get_close_matches(name, self.names(), n=count, cutoff=0.5)

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def _decorator(self, name: str) -> Callable[[T], T]:
        def register(target: T) -> T:
            self.add(name, target)
            return target

        return register

    def _same(self, name: str, target: Any) -> bool:
        """Equal text, or the same place in the source: a module that is loaded twice registers twice."""
        known = self._targets[name]
        return bool(known == target) or self._place(known) == self._place(target)

    def _text(self, name: str) -> str:
        return self._place(self._targets[name])

    @staticmethod
    def _place(target: Any) -> str:
        if isinstance(target, str):
            return target
        return f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', repr(target))}"


agents = Registry("agent")
envs = Registry("environment")  # beside Gymnasium's own registry, which stays the main one
wrappers = Registry("wrapper")
# Agent → what reads the file behind its key config_file: (path, RunConfig | None) → {key of the run: value}
config_files = Registry("reader of agent.config_file")

agents.add("random", "rlkit.agents.random:RandomAgent")
agents.add("dqn", "rlkit.agents.dqn:DQN")
agents.add("ppo", "rlkit.agents.ppo:PPO")
agents.add("neat", "rlkit.agents.neat:NEAT")

config_files.add("neat", "rlkit.cli.neat.files:values")

wrappers.add("frame_stack", "rlkit.envs.wrappers.frames:FrameStack")
wrappers.add("random_action", "rlkit.envs.wrappers.exploration:RandomAction")
wrappers.add("action_mask", "rlkit.envs.wrappers.leaves:ActionMask")
wrappers.add("dict_to_leaves", "rlkit.envs.wrappers.leaves:DictToLeaves")
wrappers.add("episodic_life", "rlkit.envs.wrappers.atari:EpisodicLife")
wrappers.add("fire_reset", "rlkit.envs.wrappers.atari:FireReset")
wrappers.add("grey_screen", "rlkit.envs.wrappers.atari:GreyScreen")
wrappers.add("max_and_skip", "rlkit.envs.wrappers.atari:MaxAndSkip")
wrappers.add("noop_reset", "rlkit.envs.wrappers.atari:NoopReset")

_LIBRARY = """
add_render_observation add_white_noise array_conversion atari_preprocessing autoreset clip_action clip_reward
delay_observation discretize_action discretize_observation dtype_observation filter_observation flatten
flatten_observation frame_stack_observation grayscale grayscale_observation human_rendering jax_to_numpy
jax_to_torch max_and_skip_observation normalize_observation normalize_reward numpy_to_torch obstruct_view
order_enforcing passive_env_checker record_episode_statistics record_video render_collection repeat_action
rescale_action rescale_observation reshape_observation resize resize_observation sticky_action
time_aware_observation time_limit transform_action transform_observation transform_reward
"""  # Gymnasium's, as the table of rlkit.envs.wrappers.library says; a test keeps the two equal
for _name in _LIBRARY.split():
    wrappers.add(_name, f"rlkit.envs.wrappers.library:{_name}")


def load_plugins(names: Sequence[str] = ()) -> None:
    """Import what registers more names: installed packages (entry points `rlkit`), then these modules.

    A module beside the user is found too. Names stored in a run folder are never passed here.
    """
    for point in entry_points(group="rlkit"):
        try:
            point.load()
        except UserError:
            raise
        except Exception as error:
            told = f"the installed plugin {point.value} fails ({importing.sentence(error)}"
            where = importing.place(error)
            raise UserError(f"{told}{f', {where}' if where else ''}); repair or remove it.") from error
    for name in names:
        import_here(name)


def import_here(name: str) -> None:
    """Import a module that the user named, from the installed packages or else the current folder."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    importing.load(name)
