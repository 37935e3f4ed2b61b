"""ViZDoom's scenarios, put right in five places. Imported only when asked for: it needs ViZDoom.

1. An episode that runs out of time is truncated, not terminated as well: learners bootstrap from its end.
2. Its last observation is the last picture that was seen; ViZDoom gives zeros, also to the camera.
3. Mouse-like buttons (`*_DELTA`) have bounds; ViZDoom's reach to 3.4e38, where no sample makes sense.
4. The configuration that the game writes goes into a scratch folder of its own, which `close` removes.
5. Ctrl-C does not end the game before the run is saved, and a game does not outlive who started it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import vizdoom
from gymnasium import spaces
from vizdoom.gymnasium_wrapper.gymnasium_env_defns import VizdoomScenarioEnv

from rlkit.envs import scratch

_SOLD = {"doom.cfg": "doom.wad", "doom2.cfg": "doom2.wad"}  # commercial games, by scenario
_PICTURES = ("screen", "depth", "labels", "automap")
_FOR_ALL = ("SIGINT", "SIGTERM", "SIGHUP")  # reach all processes of a job at once, where there are such


class Doom(VizdoomScenarioEnv):
    """One scenario: Dict(screen: uint8 [H, W, C], gamevariables: float32 [V]) → Discrete or MultiBinary.

    scenario_config_file: a .cfg of ViZDoom. screen_size: (height, width) of the observed pictures; None
    keeps the game's 240×320, in which films are made. grey: one channel instead of three. delta_limit:
    bound of mouse-like buttons, in degrees (look, turn) or map units (move) a tic. Further arguments are
    ViZDoom's: frame_skip (tics an action lasts), max_buttons_pressed, and any key of the .cfg.
    """

    observation_space: Any
    action_space: Any
    metadata: Any

    def __init__(
        self,
        scenario_config_file: str,
        screen_size: Sequence[int] | None = None,
        grey: bool = False,
        delta_limit: float = 10.0,
        **arguments: Any,
    ) -> None:
        wad = _SOLD.get(scenario_config_file)
        if wad and "doom_game_path" not in arguments and not (Path(vizdoom.scenarios_path) / wad).exists():
            raise ValueError(
                f"{wad} is sold and not installed: put it into {vizdoom.scenarios_path}, or take a map of "
                "Freedoom, as VizdoomFreedoom1E1M1-S1-v0"
            )
        super().__init__(scenario_config_file, **arguments)
        if screen_size is not None and (len(screen_size) != 2 or min(screen_size) < 1):
            raise ValueError(f"screen_size is (height, width) in pixels, not {screen_size}")
        if not delta_limit > 0:
            raise ValueError(f"delta_limit must be above 0, not {delta_limit}")
        self._size = None if screen_size is None else (int(screen_size[0]), int(screen_size[1]))
        self._grey = grey
        leaves = dict(self.observation_space.spaces)
        for name in _PICTURES:
            if name in leaves:
                height, width, channels = leaves[name].shape
                height, width = self._size or (height, width)
                leaves[name] = spaces.Box(0, 255, (height, width, 1 if grey else channels), np.uint8)
        self.observation_space = spaces.Dict(leaves)
        self.action_space = _bounded(self.action_space, delta_limit)
        self.metadata = {**self.metadata, "render_fps": round(vizdoom.DEFAULT_TICRATE / self.frame_skip)}
        self._place: Path | None = None  # where the running game stands
        self._seen: dict[str, Any] = {}  # the last observation of this episode
        self._shown: np.ndarray | None = None  # its picture for the camera

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        with contextlib.nullcontext() if self.game.is_running() else self._starting():
            obs, info = super().reset(seed=seed, options=options)
        self._seen = self._observed(obs)
        return _copied(self._seen), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if self.render_mode == "rgb_array":
            self._shown = super().render()
        obs, reward, terminated, truncated, info = super().step(action)
        if self.state is not None:
            self._seen = self._observed(obs)
        if truncated:
            terminated = bool(self.game.is_player_dead())
        return _copied(self._seen), float(reward), bool(terminated), bool(truncated and not terminated), info

    def render(self) -> Any:
        """The game's own picture, uint8 [H, W, 3]; after the end the last one that there was."""
        if self.render_mode == "rgb_array" and self.state is None and self._shown is not None:
            return self._shown
        return super().render()

    def close(self) -> None:
        super().close()
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """The game becomes a process of its own: it writes where it starts, and it keeps our signal mask."""
        if self._place is None:
            self._place = Path(tempfile.mkdtemp(prefix="doom-", dir=scratch.folder()))
            _end_with_us(self.game, self._place)
        with _signals_blocked(), scratch.working_directory(self._place):
            yield

    def _observed(self, obs: dict[str, Any]) -> dict[str, Any]:
        """An observation in the observation space's sizes."""
        return {name: self._sized(name, leaf) if name in _PICTURES else leaf for name, leaf in obs.items()}

    def _sized(self, name: str, picture: np.ndarray) -> np.ndarray:
        if self._grey and picture.shape[2] == 3:
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
        if self._size and picture.shape[:2] != self._size:
            height, width = self._size
            between = cv2.INTER_NEAREST if name == "labels" else cv2.INTER_AREA  # labels are numbers
            picture = cv2.resize(picture, (width, height), interpolation=between)
        return picture if picture.ndim == 3 else picture[..., None]  # cv2 drops a single channel


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes that start meanwhile keep these signals blocked; for us they wait until the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in _FOR_ALL])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_us(game: Any, place: Path) -> None:
    """Linux: start the game so that the kernel ends it when this process is killed."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return
    start = place / "start"
    binary = Path(vizdoom.__file__).parent / "vizdoom"
    start.write_text(f'#!/bin/sh\nexec {setpriv} --pdeathsig KILL "{binary}" "$@"\n', encoding="utf-8")
    start.chmod(0o700)
    if os.access(start, os.X_OK):  # not so where the disk may hold no programs
        game.set_vizdoom_path(str(start))


def _bounded(space: spaces.Space, limit: float) -> spaces.Space:
    """The action space with finite bounds for its continuous part."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({name: _bounded(inner, limit) for name, inner in space.spaces.items()})
    if isinstance(space, spaces.Box):
        return spaces.Box(-limit, limit, space.shape, np.float32)
    return space


def _copied(obs: dict[str, Any]) -> dict[str, Any]:
    return {name: leaf.copy() if isinstance(leaf, np.ndarray) else leaf for name, leaf in obs.items()}
