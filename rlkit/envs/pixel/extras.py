"""MiniGrid and MinAtar made trainable: what their own classes observe and draw, in today's terms."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator

_HERE = "rlkit.envs.pixel.extras"
_LEVELS = (11, 6, 4)  # MiniGrid's kinds of object, colours and states
_TILE = 32  # pixels of a cell of MinAtar in a frame
_MINATAR = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")


def register_minigrid() -> None:
    """MiniGrid's ids, each behind `GridView`."""
    import minigrid

    gym.register_envs(minigrid)
    for spec in gym.registry.values():
        if spec.id.startswith(("MiniGrid-", "BabyAI-")) and spec.entry_point != f"{_HERE}:make_minigrid":
            spec.kwargs = {**spec.kwargs, "entry_point": spec.entry_point}
            spec.entry_point = f"{_HERE}:make_minigrid"


def make_minigrid(entry_point: Any, **kwargs: Any) -> gym.Env:
    made = entry_point if callable(entry_point) else load_env_creator(entry_point)
    return GridView(made(**kwargs))


class GridView(gym.ObservationWrapper):
    """The agent's view one-hot, float32 [height · width · 21 + 4]: objects, colours, states, direction.

    The mission, a sentence, is left out here; `info["mission"]` tells it.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        image = env.observation_space["image"]
        self._eyes = [np.eye(levels, dtype=np.float32) for levels in _LEVELS]
        size = int(np.prod(image.shape[:2])) * sum(_LEVELS) + 4
        self.observation_space = spaces.Box(0.0, 1.0, (size,), np.float32)

    def observation(self, observation: Any) -> np.ndarray:
        image = observation["image"]
        parts = [eye[image[..., i]].ravel() for i, eye in enumerate(self._eyes)]
        direction = np.zeros(4, np.float32)
        direction[observation["direction"]] = 1.0
        return np.concatenate([*parts, direction])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return self.observation(obs), {**info, "mission": obs["mission"]}


def register_minatar() -> None:
    """v0 with all six actions, v1 with those that the game uses: what MinAtar's own ids mean."""
    for game in _MINATAR:
        for version, minimal in (("v0", False), ("v1", True)):
            env_id = f"MinAtar/{game.title().replace('_', '')}-{version}"
            if env_id not in gym.registry:
                gym.register(
                    env_id, entry_point=f"{_HERE}:MinAtar", kwargs={"game": game, "minimal": minimal}
                )


class MinAtar(gym.Env[np.ndarray, int]):
    """A game of MinAtar: float32 [10, 10, channels] of zeros and ones; frames uint8 [320, 320, 3]."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 15}

    def __init__(
        self, game: str, minimal: bool = True, sticky: float = 0.1, render_mode: str | None = None
    ) -> None:
        import minatar

        self.render_mode = render_mode
        self._game = minatar.Environment(env_name=game, sticky_action_prob=sticky)
        self._actions = self._game.minimal_action_set() if minimal else range(self._game.num_actions())
        self.action_space = spaces.Discrete(len(self._actions))
        shape = tuple(int(n) for n in self._game.state_shape())
        self.observation_space = spaces.Box(0.0, 1.0, shape, np.float32)
        tint = np.arange(shape[-1]) / shape[-1] * 2 * np.pi
        wave = np.stack([np.cos(tint), np.cos(tint - 2.1), np.cos(tint - 4.2)], axis=1)
        self._colors = np.vstack([np.full((1, 3), 20), 150 + 100 * wave]).astype(np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._game.seed(int(self.np_random.integers(2**31)))
        self._game.reset()
        self._game.last_action = 0  # a sticky action would repeat one of the episode before
        return self._game.state().astype(np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward, over = self._game.act(self._actions[int(action)])
        return self._game.state().astype(np.float32), float(reward), bool(over), False, {}

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        state = self._game.state()
        top = np.amax(state * (np.arange(state.shape[-1]) + 1), axis=2).astype(int)
        return self._colors[top].repeat(_TILE, axis=0).repeat(_TILE, axis=1)
