"""Gymnasium's own wrappers under their snake_case names, with what the house has to know of each.

`TABLE` is the whole knowledge: the class, what it needs, whether evaluation drops it, whether it changes the
reward, and how YAML values become what the class wants. The attributes of this module are the names:
`library.rescale_action(env, min_action=-1, max_action=1)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym
from gymnasium import wrappers as gw

from rlkit.envs.wrappers.noise import AddWhiteNoise, ObstructView
from rlkit.envs.wrappers.values import array, code, dtype, pair, shape
from rlkit.spaces import describe


class ClipReward(gw.ClipReward):
    """Rewards clipped to [low, high], in training only."""

    training_only: ClassVar[bool] = True

    def __init__(self, env: gym.Env, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__(env, min_reward=low, max_reward=high)


class Resize(gw.ResizeObservation):
    """Images scaled to height × width by OpenCV."""

    def __init__(self, env: gym.Env, height: int = 84, width: int = 84) -> None:
        super().__init__(env, shape=(height, width))


@dataclass(frozen=True)
class Entry:
    """One row: what a name means. `instead` is the way out where the wrapper cannot serve here."""

    target: Any  # the name of a class of gymnasium.wrappers, or a class
    says: str  # one sentence
    needs: str = ""  # what an environment must offer
    training_only: bool = False
    changes_reward: bool = False
    reads: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)  # argument → its conversion
    optional: Mapping[str, Any] = field(default_factory=dict)  # arguments to which the house gives a default
    instead: str = ""
    draws: bool = False  # whether it renders every step, so that lanes need frames


_BOX_ACTION, _BOX, _IMAGE = "a Box action", "a Box observation", "a colour image [H, W, 3] of uint8"
_DRIFTS = "its running statistics outlive an episode, so a resumed run is not exact"
_ARRAYS = "rlkit turns observations into tensors itself: leave the wrapper out"

TABLE: dict[str, Entry] = {
    "add_render_observation": Entry(
        "AddRenderObservation",
        "The rendered frame becomes the observation, or joins it.",
        "an environment that draws frames (render_mode=rgb_array)",
        draws=True,
    ),
    "add_white_noise": Entry(
        AddWhiteNoise,
        "Noise on the pixels of rendered frames.",
        "frames: +env.kwargs.render_mode=rgb_array",
    ),
    "array_conversion": Entry("", "Arrays of another library.", instead=_ARRAYS),
    "atari_preprocessing": Entry(
        "AtariPreprocessing",
        "No-op starts, frame skip, max of two frames, grey, resized, in one.",
        "an Atari environment without a frame skip of its own (…NoFrameskip-v4, or env.kwargs.frameskip=1)",
        changes_reward=True,
        reads={"screen_size": shape},
    ),
    "autoreset": Entry("", "Resets when an episode ends.", instead="rlkit resets ended lanes itself"),
    "clip_action": Entry("ClipAction", "Actions are cut to the range of the Box.", _BOX_ACTION),
    "clip_reward": Entry(
        ClipReward,
        "Rewards cut to a range; records keep the environment's own.",
        training_only=True,
        changes_reward=True,
    ),
    "delay_observation": Entry("DelayObservation", "Observations arrive some steps late.", _BOX),
    "discretize_action": Entry(
        "DiscretizeAction", "Continuous actions in bins.", "a bounded Box action", reads={"bins": shape}
    ),
    "discretize_observation": Entry(
        "DiscretizeObservation", "Observations in bins.", "a bounded Box observation", reads={"bins": shape}
    ),
    "dtype_observation": Entry(
        "DtypeObservation", "Observations of another number type.", reads={"dtype": dtype}
    ),
    "filter_observation": Entry(
        "FilterObservation",
        "Keeps some keys of a Dict or Tuple.",
        "a Dict or Tuple observation with these keys",
    ),
    "flatten": Entry("FlattenObservation", "Any observation becomes one vector."),
    "flatten_observation": Entry("FlattenObservation", "Any observation becomes one vector."),
    "frame_stack_observation": Entry(
        "FrameStackObservation",
        "The last observations together (frame_stack also lets replay store each frame once).",
        "an observation that can be stacked: a Box",
    ),
    "grayscale": Entry("GrayscaleObservation", "Colour images become grey.", _IMAGE),
    "grayscale_observation": Entry("GrayscaleObservation", "Colour images become grey.", _IMAGE),
    "human_rendering": Entry("", "Opens a window.", instead="rlkit play films episodes without a screen"),
    "jax_to_numpy": Entry("", "Arrays of JAX.", instead=_ARRAYS),
    "jax_to_torch": Entry("", "Arrays of JAX.", instead=_ARRAYS),
    "max_and_skip_observation": Entry(
        "MaxAndSkipObservation",
        "Acts several frames, observes the maximum of the last two.",
        _BOX,
        changes_reward=True,
    ),
    "normalize_observation": Entry(
        "NormalizeObservation",
        f"Observations of mean 0, variance 1; {_DRIFTS} (agent.normalize_obs=true of ppo is).",
        _BOX,
    ),
    "normalize_reward": Entry(
        "NormalizeReward",
        f"Rewards scaled by the deviation of the return; {_DRIFTS}.",
        training_only=True,
        changes_reward=True,
    ),
    "numpy_to_torch": Entry("", "Arrays become tensors.", instead=_ARRAYS),
    "obstruct_view": Entry(
        ObstructView, "Patches hide parts of rendered frames.", "frames: +env.kwargs.render_mode=rgb_array"
    ),
    "order_enforcing": Entry("OrderEnforcing", "An error where step comes before reset."),
    "passive_env_checker": Entry(
        "PassiveEnvChecker", "Warns where an environment breaks the rules, at every step."
    ),
    "record_episode_statistics": Entry(
        "RecordEpisodeStatistics", "Returns in info (the monitor records them anyway)."
    ),
    "record_video": Entry("", "Films.", instead="the monitor films: monitor.video=cubic"),
    "render_collection": Entry("", "Collects frames.", instead="the monitor films: monitor.video=cubic"),
    "repeat_action": Entry(
        "RepeatAction", "Every action is executed several times; rewards add up.", changes_reward=True
    ),
    "rescale_action": Entry(
        "RescaleAction",
        "Actions of a range of yours, scaled to the environment's.",
        "a bounded Box action",
        reads={"min_action": array, "max_action": array},
    ),
    "rescale_observation": Entry(
        "RescaleObservation",
        "Observations scaled to a range of yours.",
        "a bounded Box observation",
        reads={"min_obs": array, "max_obs": array},
    ),
    "reshape_observation": Entry(
        "ReshapeObservation",
        "Observations of another shape.",
        "a Box of as many numbers",
        reads={"shape": shape},
    ),
    "resize": Entry(Resize, "Images are scaled.", "an image [H, W] or [H, W, 3] of uint8, and OpenCV"),
    "resize_observation": Entry(
        "ResizeObservation", "Images are scaled.", "an image of uint8, and OpenCV", reads={"shape": shape}
    ),
    "sticky_action": Entry(
        "StickyAction",
        "With some probability the last action is executed again.",
        reads={"repeat_action_duration": pair},
    ),
    "time_aware_observation": Entry(
        "TimeAwareObservation", "Adds the number of the step to the observation.", "a time limit"
    ),
    "time_limit": Entry("TimeLimit", "Episodes are truncated after so many steps."),
    "transform_action": Entry(
        "TransformAction",
        "A function of yours on every action.",
        reads={"func": code, "action_space": code},
        optional={"action_space": None},
    ),
    "transform_observation": Entry(
        "TransformObservation",
        "A function of yours on every observation.",
        reads={"func": code, "observation_space": code},
        optional={"observation_space": None},
    ),
    "transform_reward": Entry(
        "TransformReward",
        "A function of yours on every reward.",
        training_only=True,
        changes_reward=True,
        reads={"func": code},
    ),
}

_PLAIN = {"int": int, "float": float, "bool": bool, "str": str}


class Named:
    """A row of the table as a wrapper: (env, **arguments) → env, with the signature of its class."""

    def __init__(self, name: str, entry: Entry) -> None:
        self.name, self.entry = name, entry
        self.training_only, self.changes_reward = entry.training_only, entry.changes_reward
        self.draws = entry.draws
        self.__name__, self.__doc__ = name, entry.says
        self.__signature__ = inspect.Signature() if entry.instead else self._signature()

    @property
    def target(self) -> Any:
        return getattr(gw, self.entry.target) if isinstance(self.entry.target, str) else self.entry.target

    def _signature(self) -> inspect.Signature:
        """The class's own, with annotations that can be checked and the defaults that the house adds."""
        found = []
        for item in inspect.signature(self.target).parameters.values():
            kind = _PLAIN.get(str(item.annotation), Any) if item.name not in self.entry.reads else Any
            default = self.entry.optional.get(item.name, item.default)
            found.append(item.replace(annotation=kind, default=default))
        return inspect.Signature(found)

    def __call__(self, env: gym.Env, **arguments: Any) -> gym.Env:
        """Wrap `env`; ValueError with one sentence where that cannot be."""
        if self.entry.instead:
            raise ValueError(f"it is not used here: {self.entry.instead}")
        values = dict(self.entry.optional) | arguments
        for name, read in self.entry.reads.items():
            if name in values:
                values[name] = read(values[name])
        try:
            made: gym.Env = self.target(env, **values)
            made.observation_space, made.action_space  # noqa: B018  (some are worked out only when asked)
        except Exception as error:
            raise ValueError(self._sentence(env, error)) from error
        return made

    def _sentence(self, env: gym.Env, error: Exception) -> str:
        own = str(error).strip().splitlines()
        why = f" ({own[0]})" if own else ""
        given = f"observation {describe(env.observation_space)}, action {describe(env.action_space)}"
        if self.entry.needs:
            return f"it needs {self.entry.needs}; here: {given}{why}"
        return f"{own[0] if own else type(error).__name__}; here: {given}"


_MADE: dict[str, Named] = {}


def __getattr__(name: str) -> Named:
    if name not in TABLE:
        raise AttributeError(name)
    if name not in _MADE:
        _MADE[name] = Named(name, TABLE[name])
    return _MADE[name]
