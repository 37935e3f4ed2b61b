"""Atari's standard preprocessing (Mnih et al. 2015), one wrapper a step, in the order in which they nest:

noop_reset, max_and_skip, episodic_life, fire_reset, grey_screen, clip_reward, frame_stack

They need an environment that shows every frame (`…NoFrameskip-v4`) in ALE's own grey
(`env.kwargs.obs_type=grayscale`), which is cheaper than colour and what other implementations see.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

Step = tuple[Any, Any, bool, bool, dict[str, Any]]


def _console(env: gym.Env, name: str) -> Any:
    """The Atari environment within; ValueError for any other."""
    inner: Any = env.unwrapped
    if not hasattr(inner, "ale") or not hasattr(inner, "get_action_meanings"):
        raise ValueError(f"{name} is for Atari games")
    return inner


class NoopReset(gym.Wrapper):
    """A random number of idle frames, 1 to `noop_max`, before an episode begins; 0 switches it off.

    The number is drawn from the environment's generator: the seed of a reset decides it.
    """

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, noop_max: int = 30) -> None:
        super().__init__(env)
        if noop_max < 0:
            raise ValueError(f"noop_max must be 0 or more, not {noop_max}")
        if _console(env, "noop_reset").get_action_meanings()[0] != "NOOP":
            raise ValueError("noop_reset needs a game whose action 0 does nothing")
        self.noop_max = noop_max

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        count = int(self.unwrapped.np_random.integers(1, self.noop_max + 1)) if self.noop_max else 0
        for _ in range(count):
            obs, _, terminated, truncated, told = self.env.step(0)
            info |= told
            if terminated or truncated:
                obs, info = self.env.reset(options=options)
        return obs, info


class MaxAndSkip(gym.Wrapper):
    """Each action lasts `skip` frames; seen is the brighter of the last two, for sprites that blink."""

    changes_reward: ClassVar[bool] = False  # the sum over the episode stays

    def __init__(self, env: gym.Env, skip: int = 4) -> None:
        super().__init__(env)
        if skip < 1:
            raise ValueError(f"skip must be 1 or more, not {skip}")
        already = getattr(env.unwrapped, "_frameskip", 1)
        if already != 1:
            frames = already if isinstance(already, int) else f"{already[0]} to {already[1] - 1}"
            raise ValueError(
                f"the game already skips {frames} frames: use {_every_frame(env)} or env.kwargs.frameskip=1"
            )
        space = env.observation_space
        if not isinstance(space, Box) or len(space.shape) < 2:
            raise ValueError("max_and_skip compares images, and the observation is none")
        self.skip = skip

    def step(self, action: Any) -> Step:
        total, before = 0.0, None
        for frame in range(self.skip):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated or frame == self.skip - 1:
                break
            before = obs
        if before is not None:
            obs = np.maximum(before, obs)
        return obs, total, terminated, truncated, info

    def one_frame(self, action: Any) -> Step:
        """The action for a single frame, nothing skipped: what `fire_reset` asks for."""
        return self.env.step(action)


def _every_frame(env: gym.Env) -> str:
    game = getattr(env.unwrapped, "_game", "")
    return f"{game.title().replace('_', '')}NoFrameskip-v4"


class EpisodicLife(gym.Wrapper):
    """Tells the agent of a lost life as of an end: `info["life_lost"]`, while the game and its record go on.

    The vector boundary turns it into `TimeStep.terminated` of that row. Games without lives are left alone.
    """

    training_only: ClassVar[bool] = True
    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._ale = _console(env, "episodic_life").ale
        self._lives = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self._lives = self._ale.lives()
        return obs, info

    def step(self, action: Any) -> Step:
        obs, reward, terminated, truncated, info = self.env.step(action)
        lives = self._ale.lives()
        # No lives left is the end of the game, which some games announce only frames later.
        if 0 < lives < self._lives and not (terminated or truncated):
            info["life_lost"] = True
        self._lives = lives
        return obs, reward, terminated, truncated, info


class FireReset(gym.Wrapper):
    """Presses FIRE for one frame after a reset, in games that have the button: many wait for it."""

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        meanings = _console(env, "fire_reset").get_action_meanings()
        self._fire = meanings.index("FIRE") if "FIRE" in meanings else None
        skips = env.has_wrapper_attr("one_frame")
        self._press = env.get_wrapper_attr("one_frame") if skips else env.step

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        if self._fire is None:
            return obs, info
        obs, _, terminated, truncated, told = self._press(self._fire)
        if terminated or truncated:  # begin again, without FIRE: it would end again
            return self.env.reset(options=options)
        return obs, {**info, **told}


class GreyScreen(gym.ObservationWrapper):
    """ALE's grey screen [210, 160] scaled to [height, width] by area, uint8 (OpenCV, one thread)."""

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, height: int = 84, width: int = 84) -> None:
        super().__init__(env)
        if height < 1 or width < 1:
            raise ValueError(f"height and width must be 1 or more, not {height} and {width}")
        space = env.observation_space
        if not isinstance(space, Box) or len(space.shape) != 2 or space.dtype != np.uint8:
            raise ValueError("grey_screen needs ALE's grey picture: set env.kwargs.obs_type=grayscale")
        if find_spec("cv2") is None:
            raise ValueError("grey_screen needs OpenCV: pip install opencv-python-headless")
        import cv2

        cv2.setNumThreads(1)  # a frame is too small to share, and lanes are many
        self._resize, self._area, self._size = cv2.resize, cv2.INTER_AREA, (width, height)
        self.observation_space = Box(0, 255, (height, width), np.uint8)

    def observation(self, observation: Any) -> Any:
        return self._resize(observation, self._size, interpolation=self._area)
