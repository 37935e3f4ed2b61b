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
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from rlkit.envs.wrappers.record import RawReturn

FIRE = 1  # its place in ale-py's action sets, where a game has the button

Step = tuple[Any, Any, bool, bool, dict[str, Any]]


def _console(env: gym.Env, name: str) -> Any:
    """The Atari environment within; ValueError for any other."""
    inner: Any = env.unwrapped
    if not hasattr(inner, "ale") or not hasattr(inner, "get_action_meanings"):
        raise ValueError(f"{name} is for Atari games")
    _load_once(inner)
    return inner


class _Cartridge:
    """`AtariEnv.load_game` without reading the ROM again, which takes 0.1 s at every seeded reset.

    The state right after the first loading, followed by the console's own reset, is what loading again gives:
    compared on all games of ale-py 0.12.1.
    """

    def __init__(self, console: Any) -> None:
        self._ale, self._load = console.ale, console.load_game
        self._new: Any = None

    def __call__(self) -> None:
        if self._new is None:
            self._load()
            self._new = self._ale.cloneState(include_rng=True)
        else:
            self._ale.restoreState(self._new)


def _load_once(console: Any) -> None:
    """Only where the seed decides nothing inside the console: sticky actions are drawn in there."""
    plain = getattr(console, "_game_mode", 0) is None and getattr(console, "_game_difficulty", 0) is None
    if not plain or isinstance(console.load_game, _Cartridge):
        return
    if console.ale.getFloat("repeat_action_probability") == 0.0:
        console.load_game = _Cartridge(console)


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
    """Each action lasts `skip` frames; seen is the brighter of the last two, for sprites that blink.

    Where nothing beneath counts frames, those before the last two are not drawn. A game that is over earlier
    then shows its last frame alone; one that is cut by the frame limit shows two like any other step.
    """

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
        self._blind: Any = _frames_are_nobodys(env) if skip > 2 else None
        self._limit = self._blind.ale.getInt("max_num_frames_per_episode") if self._blind else 0

    def step(self, action: Any) -> Step:
        total, before, frames = 0.0, None, self.skip
        if self._blind and not 0 < self._limit - self._blind.ale.getEpisodeFrameNumber() <= self.skip:
            before, reward, terminated, truncated, info = self._many(action, self.skip - 1)
            if terminated or truncated:
                return before, reward, terminated, truncated, info
            total, frames = float(reward), 1
        for frame in range(frames):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated or frame == frames - 1:
                break
            before = obs
        if before is not None:
            obs = np.maximum(before, obs)
        return obs, total, terminated, truncated, info

    def _many(self, action: Any, frames: int) -> Step:
        """So many frames, of which ale-py draws the last; it refuses to go on when the game is over."""
        self._blind._frameskip = frames
        try:
            return self.env.step(action)
        finally:
            self._blind._frameskip = 1

    def one_frame(self, action: Any) -> Step:
        """The action for a single frame, nothing skipped: what `fire_reset` asks for."""
        return self.env.step(action)


def _frames_are_nobodys(env: gym.Env) -> Any:
    """The console, if no wrapper around it minds whether a step is one frame or several; else None."""
    while isinstance(env, NoopReset | RawReturn | OrderEnforcing | PassiveEnvChecker):
        env = env.env
    return env if hasattr(env, "ale") and hasattr(env, "_frameskip") else None


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
    """Presses FIRE, for which many games wait: one frame after a reset, a whole step after a lost life.

    The second happens in training and evaluation alike (`each_life`): a greedy policy that never learnt to
    fire would stand idle until the frame limit. `info["action_executed"]` then tells of FIRE. Games whose
    action 1 is not FIRE are left alone.
    """

    changes_reward: ClassVar[bool] = False

    def __init__(self, env: gym.Env, each_life: bool = True) -> None:
        super().__init__(env)
        console = _console(env, "fire_reset")
        self._fires = console.get_action_meanings()[1:2] == ["FIRE"]
        self._ale = console.ale
        self.each_life = each_life
        self._lives, self._waits = 0, False
        skips = env.has_wrapper_attr("one_frame")
        self._press = env.get_wrapper_attr("one_frame") if skips else env.step

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        if self._fires:
            obs, _, terminated, truncated, told = self._press(FIRE)
            if terminated or truncated:  # begin again, without FIRE: it would end again
                obs, info = self.env.reset(options=options)
            else:
                info = {**info, **told}
        self._waits = False
        if self._fires and self.each_life:
            self._lives = self._ale.lives()
        return obs, info

    def step(self, action: Any) -> Step:
        if not (self._fires and self.each_life):
            return self.env.step(action)
        pressed = self._waits
        obs, reward, terminated, truncated, info = self.env.step(FIRE if pressed else action)
        lives = self._ale.lives()
        self._waits, self._lives = 0 < lives < self._lives, lives
        if pressed:
            info.setdefault("action_executed", FIRE)  # a wrapper further in may have done yet another thing
        return obs, reward, terminated, truncated, info


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
