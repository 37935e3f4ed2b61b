"""The engine `ale`: ale-py's vector environment, Atari with the standard preprocessing in C++ threads.

It gives, frame by frame, what our wrapper list gives. Four things differ:

- an episode is (seed, actions) only where a decision brings the seed: a seeded reset loads the cartridge
  again, so the engine's own generators, seeded at the start, go on instead. A resumed run begins new
  episodes and says so, and films show evaluations;
- what is drawn from a seed: the number of idle frames at the start, sticky actions;
- the newest frame where a game is over, which nobody learns from: ale-py 0.12.1 stops before it looks, and
  shows the picture of the step before;
- at the frame limit the last step is played to its end (`sync` stops at the very frame): up to skip - 1
  frames more, and the successor from which agents bootstrap is a picture like any other.

A reset by seed makes ale-py load the ROM again, 0.1 s of a core for each episode; `sync` is spared that.
Other resets take some milliseconds, so they have no step of their own: a game that is over begins anew in the
threads beside the other lanes' next step, and the row in which it begins is not valid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from rlkit.config import EnvConfig
from rlkit.envs import catalog
from rlkit.envs.groups import atari
from rlkit.envs.vector import VectorEnvs
from rlkit.envs.wrappers.atari import FIRE
from rlkit.envs.wrappers.frames import stack_of
from rlkit.spaces import ObsSpec
from rlkit.types import Envs

Wrappers = dict[str, dict[str, Any]]

_ORDER: dict[
    str, dict[str, Any]
] = {  # the standard list and the arguments that the engine can express, with their defaults
    "noop_reset": {"noop_max": 30},
    "max_and_skip": {"skip": 4},
    "episodic_life": {},
    "fire_reset": {"each_life": True},
    "grey_screen": {"height": 84, "width": 84},
    "clip_reward": {"low": -1.0, "high": 1.0},
    "frame_stack": {"size": 4},
}
_FRAMES = 108_000  # of an episode, where nothing says otherwise
_ENDLESS = 2**31 - 1 - 64
_NEEDED = ("max_and_skip", "grey_screen", "frame_stack")
_KWARGS = ("frameskip", "obs_type", "repeat_action_probability", "full_action_space",
           "max_num_frames_per_episode")  # fmt: skip


def why_not(config: EnvConfig, wrappers: Wrappers) -> str | None:
    """Why ale-py's vector environment cannot serve this environment with these wrappers, or None."""
    if not atari.owns(config.id):
        return "it serves Atari games"
    if find_spec("ale_py") is None:
        return f"it needs ale_py: pip install '{catalog.DISTRIBUTION}[atari]'"
    if "-ram" in config.id:
        return "it shows pictures, not RAM"
    for name in config.kwargs:
        if name not in _KWARGS:
            return f"it cannot express env.kwargs.{name}"
    if config.kwargs.get("obs_type") != "grayscale":
        return "it needs env.kwargs.obs_type=grayscale"
    if config.max_episode_steps is not None:
        return "it counts frames: use env.kwargs.max_num_frames_per_episode, not env.max_episode_steps"
    if config.kwargs.get("frameskip", 1 if "NoFrameskip" in config.id else 4) != 1:
        return "max_and_skip must do the skipping: use a NoFrameskip id or env.kwargs.frameskip=1"
    return _wrappers_not(wrappers)


def _wrappers_not(wrappers: Wrappers) -> str | None:
    for name, arguments in wrappers.items():
        if name not in _ORDER:
            return f"it has no wrapper {name}"
        for key in arguments or {}:
            if key not in _ORDER[name] and key != "in_evaluation":  # evaluations are not played here
                return f"it cannot express wrappers.{name}.{key}"
    for name in _NEEDED:
        if name not in wrappers:
            return f"it always does {name}, which the wrappers lack"
    if list(wrappers) != [name for name in _ORDER if name in wrappers]:
        return f"its order of wrappers is {', '.join(_ORDER)}"
    if _argument(wrappers, "max_and_skip", "skip") < 2:
        return "it skips at least 2 frames"
    return None


def _argument(wrappers: Wrappers, name: str, key: str) -> Any:
    return (wrappers[name] or {}).get(key, _ORDER[name][key])


def make(
    config: EnvConfig,
    wrappers: Wrappers,
    num_envs: int,
    *,
    seed: int,
    stream: str,
    device: torch.device | str,
    with_actions: tuple[int, ...],
    capture: Callable[..., Any] | None = None,
) -> Envs:
    """Lanes in ale-py's threads (one for each core at most); there is no tensor step to capture."""
    venv = AleLanes(config, wrappers, num_envs)
    spec = ObsSpec.of(venv.single_observation_space, stack=stack_of(wrappers))
    return VectorEnvs(venv, seed=seed, stream=stream, device=device, with_actions=with_actions, obs_spec=spec)


def film_maker(
    config: EnvConfig, wrappers: Wrappers, render_mode: str | None
) -> Callable[[], gym.Env] | None:
    """None: a single environment draws other no-op starts from the same seed; evaluations are filmed."""
    return None


class AleLanes(VectorEnv):
    """`AtariVectorEnv` in DISABLED mode, its zero-padded young stacks repaired, with the game's own return.

    Where an episode ended, `info["raw_return"]` [N] float is its sum of unclipped rewards; where a life was
    lost while the game goes on (with `episodic_life`), `info["life_lost"]` [N] bool says so.
    """

    # A seeded reset takes 0.13 s, and all lanes wait for it. A run is still decided by its seed.
    seeds_episodes = False
    resets_late = True  # an ended game that nobody resets begins anew in the next step, beside the others
    fresh_arrays = True

    def __init__(self, config: EnvConfig, wrappers: Wrappers, num_envs: int) -> None:
        catalog.prepare(config.id)
        from ale_py.vector_env import AtariVectorEnv

        spec = gym.spec(config.id)
        options = {**spec.kwargs, **config.kwargs}
        for name in ("game", "frameskip", "obs_type"):
            options.pop(name, None)
        skip = _argument(wrappers, "max_and_skip", "skip")
        limit = int(options.pop("max_num_frames_per_episode", _FRAMES) or 0)  # frames; 0: none
        self._skip, self._limit = skip, limit or _ENDLESS
        self._games: Any = AtariVectorEnv(
            spec.kwargs["game"],
            num_envs,
            frameskip=skip,
            noop_max=_argument(wrappers, "noop_reset", "noop_max") if "noop_reset" in wrappers else 0,
            img_height=_argument(wrappers, "grey_screen", "height"),
            img_width=_argument(wrappers, "grey_screen", "width"),
            stack_num=_argument(wrappers, "frame_stack", "size"),
            use_fire_reset="fire_reset" in wrappers,
            reward_clipping=False,  # here, so that the game's own return is known
            autoreset_mode=AutoresetMode.NEXT_STEP,  # which a reset before that step cancels
            # It shows an old picture where it cuts an episode itself: it never comes to that.
            max_num_frames_per_episode=min(self._limit + skip, _ENDLESS),
            **options,
        )
        self.num_envs = num_envs
        self.metadata = {**self._games.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.spec, self.render_mode = spec, None
        self.single_observation_space = self._games.single_observation_space
        self.single_action_space = self._games.single_action_space
        self.observation_space, self.action_space = self._games.observation_space, self._games.action_space
        self._stack = self.single_observation_space.shape[0]
        self._clip: tuple[float, float] | None = None
        if "clip_reward" in wrappers:
            self._clip = (
                _argument(wrappers, "clip_reward", "low"), _argument(wrappers, "clip_reward", "high")
            )  # fmt: skip
        self._unpaid = np.zeros(num_envs) if self._clip is None else np.zeros(num_envs).clip(*self._clip)
        self._episodic = "episodic_life" in wrappers
        self._fires = False
        if "fire_reset" in wrappers and _argument(wrappers, "fire_reset", "each_life"):
            self._fires = self._games.ale.get_action_set()[FIRE].name == "FIRE"
        self._now = self._youngest = 0  # vector steps so far, and at the last reset of a lane
        self._born = np.zeros(num_envs, dtype=np.int64)  # vector step of each lane's reset
        self._calm = 0  # vector steps in which nobody can come to the frame limit
        self._returns = np.zeros(num_envs)
        self._lives = np.zeros(num_envs, dtype=np.int32)
        # Lanes, or None where there are none: the common case costs nothing then.
        self._ended: np.ndarray | None = None
        self._cut: np.ndarray | None = None  # whose end the games do not know of: ours
        self._wait: np.ndarray | None = None  # whose next action is FIRE, whatever is asked
        self._all = np.ones(num_envs, dtype=bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """All lanes, or those of `options["reset_mask"]`; seeds are given for all lanes or for none."""
        mask = (options or {}).get("reset_mask", self._all)
        seeds = seed if isinstance(seed, Sequence) else [
            None if seed is None else seed + lane for lane in range(self.num_envs)
        ]  # fmt: skip
        chosen = np.array(
            [-1 if seeds[lane] is None else seeds[lane] for lane in np.flatnonzero(mask).tolist()]
        )
        obs, info = self._games.reset(seed=chosen.astype(np.int64), options={"reset_mask": mask})
        self._begin(mask)
        self._lives, self._calm = info["lives"], 0
        return self._repaired(obs), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of every lane; all arrays are fresh. Where a game had ended, the next one has begun."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: Any) -> None:
        """Hand over the actions [N]; the games play in their threads."""
        self._executed: dict[str, Any] = {}
        actions, self._restarted = np.asarray(actions), self._cut
        if self._cut is not None:  # their first step is part of the reset, and what it pays is nobody's
            seeds = np.full(np.count_nonzero(self._cut), -1)
            self._games.reset(seed=seeds, options={"reset_mask": self._cut})
        if self._wait is not None:
            actions = np.where(self._wait, FIRE, actions)
            self._executed = {"action_executed": actions, "_action_executed": self._wait}
        self._games.send(actions)
        self._now += 1
        self._calm -= 1
        self._begun = self._ended
        if self._ended is not None:  # nobody reset them: the games do, now
            self._begin(self._ended)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """What the actions handed over last came to."""
        obs, paid, terminated, truncated, told = self._games.recv()
        info, begun = self._executed, self._begun
        if self._calm < 0 or begun is not None:
            frames = told["episode_frame_number"]
            truncated = (frames >= self._limit) & ~terminated & (True if begun is None else ~begun)
            self._cut = _some(truncated)
            self._calm = (self._limit - int(frames.max())) // self._skip - 1
        rewards = self._rewards(paid)
        ended = self._ended = _some(terminated if self._cut is None else terminated | truncated)
        if ended is not None:
            info |= {"raw_return": self._returns.copy(), "_raw_return": ended}
        lives, before = told["lives"], self._lives
        # No lives left is the end of the game, which some games announce only frames later.
        lost = _some(lives < before)
        if lost is not None:
            lost &= lives > 0
            for others in (begun, ended):
                lost = lost if others is None else lost & ~others
            if self._episodic:
                info |= {"life_lost": lost, "_life_lost": lost}
            lost = _some(lost)
        self._lives, self._wait = lives, lost if self._fires else None
        return self._repaired(obs), rewards, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing but memory and threads is held, and they go with the object."""
        self._games = None

    def _rewards(self, paid: np.ndarray) -> np.ndarray:
        """What the agent is paid [N], clipped if it asks for that; the game's own return is kept."""
        if not np.count_nonzero(paid):
            return self._unpaid.copy()
        rewards = paid.astype(np.float64)
        if self._restarted is not None:
            rewards[self._restarted] = 0.0
        self._returns += rewards
        return rewards if self._clip is None else rewards.clip(*self._clip)

    def _begin(self, mask: np.ndarray) -> None:
        self._born[mask], self._returns[mask] = self._now, 0.0
        self._youngest = self._now
        # New arrays: the old ones were handed out.
        self._ended, self._wait, self._cut = (
            None if lanes is None else _some(lanes & ~mask) for lanes in (self._ended, self._wait, self._cut)
        )

    def _repaired(self, obs: np.ndarray) -> np.ndarray:
        """Young stacks repeat their first frame instead of zeros; obs [N, stack, H, W], in place."""
        if self._now - self._youngest < self._stack - 1:
            for lane, age in enumerate((self._now - self._born).tolist()):
                oldest = self._stack - 1 - age  # where the episode's first frame stands
                if oldest > 0:
                    obs[lane, :oldest] = obs[lane, oldest]
        return obs


def _some(lanes: np.ndarray) -> np.ndarray | None:
    """[N] bool, or None where no lane is meant."""
    return lanes if np.count_nonzero(lanes) else None
