"""Films made afterwards: an episode is played again from its seed and its actions, in another environment.

So what trains is never slowed by rendering, and never needs a render mode.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from rlkit.films import Film, Thinner
from rlkit.recorder import Recorder

log = logging.getLogger("rlkit")


@dataclass(frozen=True)
class FilmResult:
    """A film of a replayed episode. exact: the replay gave the return that the episode had."""

    path: Path
    frames: int
    exact: bool
    gif: bytes | None = None  # a small moving picture, when asked for


def film_episode(
    recorder: Recorder, make_env: Callable[[], gymnasium.Env], episode_id: int, seed: int | None,
    actions: Iterable[Any], reward: float, extra: dict[str, Any] | None = None, *,
    want_gif: bool = False, fps: float | None = None,
) -> FilmResult | None:  # fmt: skip
    """Film an episode that is over, by playing its actions again in an environment of its own.

    make_env: builds the environment, with render_mode="rgb_array" or "ansi"; it is closed afterwards.
    actions: as `env.step` takes them. reward: the return it had; the film's metadata say `exact: false`
    when the replay gives another. extra: more facts for the metadata. fps: None takes the environment's.
    Never raises: where no film can be made, a warning is logged and None returned.
    """
    env, film = None, None
    try:
        env = make_env()
        kind = filmable(env)
        if kind is None:
            raise ValueError(f"render_mode is {env.render_mode!r}, not rgb_array or ansi")
        film = recorder.film(episode_id, fps or frame_rate(env), extra, text=kind == "text")
        thinner = Thinner() if want_gif and kind == "picture" else None
        exact = _replay(env, seed, actions, reward, film, thinner)
        film.note["exact"] = exact
        frames, name = film.frames, recorder.finish(film)
        if name is None:
            return None
        picture = thinner.gif(film.fps) if thinner else None
        return FilmResult(recorder.directory / name, frames, exact, picture)
    except Exception as error:  # a film is never worth a run
        log.warning("no film of episode %d: %s: %s", episode_id, type(error).__name__, error)
        if film is not None:
            film.abort()
        return None
    finally:
        if env is not None:
            with contextlib.suppress(Exception):
                env.close()


def _replay(env: Any, seed: int | None, actions: Iterable[Any], reward: float, film: Film,
            thinner: Thinner | None) -> bool:  # fmt: skip
    """Play, and show each state. True when the return agrees and the episode did not end too early."""
    total, over, early = 0.0, False, False
    env.reset(seed=seed)
    _show(env, film, thinner)
    for action in actions:
        if over:
            early = True
            break
        _, step_reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(step_reward), bool(terminated or truncated)
        _show(env, film, thinner)
    return not early and math.isclose(total, reward, rel_tol=1e-6, abs_tol=1e-6)


def _show(env: Any, film: Film, thinner: Thinner | None) -> None:
    if film.wants_more:
        frame = newest_frame(env.render())
        film.add(frame)
        if thinner is not None and film.problem is None:
            thinner.add(frame)


def filmable(env: Any) -> str | None:
    """What `env.render()` gives: "picture", "text", or None when there is nothing to film."""
    mode = str(env.render_mode or "").removesuffix("_list")
    return {"rgb_array": "picture", "ansi": "text"}.get(mode)


def newest_frame(frame: Any) -> Any:
    """`rgb_array_list` gives all frames since it was last asked."""
    if isinstance(frame, list):
        return frame[-1] if frame else None
    return frame


def frame_rate(env: Any) -> float:
    """Frames per second that the environment asks for; text screens that ask nothing are shown slowly."""
    asked = (env.metadata or {}).get("render_fps")
    return float(asked or (2 if filmable(env) == "text" else 30))
