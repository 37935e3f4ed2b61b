"""The configuration of a run, as plain dataclasses: what a key means, its type, its range, its default.

`conf/` holds the same keys as YAML, so that composing needs neither torch nor this file; a test keeps
the two equal. `check` turns a composed mapping into these dataclasses or raises one clear sentence,
`load_run_config` does the same for a run folder, which is data and never code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]

from rlkit.check import flatten, keys_of, nearest, read
from rlkit.errors import UserError
from rlkit.registry import agents

__all__ = [
    "AccelConfig",
    "EnvConfig",
    "MonitorConfig",
    "NetConfig",
    "RunConfig",
    "RunDirConfig",
    "TrainerConfig",
    "agent_config",
    "check",
    "conf_dir",
    "flatten",
    "imported",
    "key",
    "load_run_config",
    "require_trusted",
    "to_dict",
    "to_yaml",
]

FILMS = ("none", "cubic", "every:N", "steps:N")
DEVICES = ("auto", "cpu", "cuda", "cuda:INDEX")
ENGINES = ("auto", "sync", "async", "ale", "envpool", "torch")
LOGGERS = ("tensorboard", "jsonl", "terminal", "notebook")


def key(
    default: Any = ...,
    doc: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    above: float | None = None,
) -> Any:
    """A dataclass field with its sentence, its range (low ≤ x ≤ high, x > above) and its choices."""
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices, "above": above}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if default is ...:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class EnvConfig:
    id: str = key("CartPole-v1", "Gymnasium id; module:Id imports the module first")
    num_envs: int = key(1, "lanes", low=1, high=65_536)
    engine: str = key("auto", "how lanes are stepped", choices=ENGINES)
    workers: int = key(0, "processes of engine=async; 0: one for each core", low=0)
    kwargs: dict[str, Any] = key({}, "arguments of gymnasium.make")  # noqa: RUF009
    max_episode_steps: int | None = key(None, "time limit in steps instead of the environment's own", low=1)
    solved_at: float | None = key(
        None, "return that counts as solved; null takes the environment's threshold"
    )


@dataclass
class NetConfig:
    hidden: list[int] = key([64, 64], "units of each hidden layer", low=1)  # noqa: RUF009
    activation: str = key("tanh", "", choices=("tanh", "relu", "elu", "gelu", "silu", "leaky_relu"))
    layer_norm: bool = key(False, "normalise after each hidden layer")
    orthogonal: bool = key(True, "orthogonal initialisation; false keeps PyTorch's")
    cnn: str = key("nature", "encoder of image leaves", choices=("nature",))
    cnn_features: int = key(512, "width of the image encoder's output", low=1)
    shared: bool = key(False, "actor and critic share the encoder (images always do)")


@dataclass
class TrainerConfig:
    total_steps: int = key(50_000, "agent decisions over all lanes", low=1)
    log_every: int = key(1_000, "steps between rows of metrics", low=1)
    eval_every: int = key(2_500, "steps between evaluations; 0 never", low=0)
    eval_episodes: int = key(20, "episodes of one evaluation", low=1)
    eval_envs: int = key(10, "lanes of the evaluation", low=1)
    checkpoint_every: int = key(10_000, "steps between checkpoints; 0 only at the end", low=0)
    keep_checkpoints: int = key(2, "how many of the newest checkpoints stay", low=1)
    stop_at_return: float | None = key(
        None, "stop when an evaluation's mean, or a champion's check, reaches this"
    )
    stop_when_solved: bool = key(False, "stop when 100 training episodes reach the boundary")
    check_episodes: int = key(
        100, "fresh episodes by which a champion confirms the goal, and stops the run; 0: no check", low=0
    )
    test_episodes: int = key(100, "greedy episodes of the final test, on seeds nobody saw; 0 skips it", low=0)


@dataclass
class MonitorConfig:
    records: bool = key(True, "one line per finished episode under monitor/")
    video: str = key("cubic", "which training episodes of lane 0 are filmed", choices=FILMS)
    eval_video: str = key("cubic", "which evaluations have their first episode filmed", choices=FILMS[:3])
    fps: int | None = key(None, "frames per second; null takes the environment's own", low=1)
    codec: str = key("h264", "", choices=("h264", "mpeg4", "vp9", "av1"))
    max_frames: int = key(5_000, "a film ends after so many frames", low=1)
    gif: bool = key(True, "the filmed evaluation as a GIF in TensorBoard")


@dataclass
class AccelConfig:
    mode: str = key(
        "auto",
        "auto: eager; compile and cudagraph are asked for",
        choices=("auto", "eager", "compile", "cudagraph"),
    )
    threads: int = key(0, "CPU threads of torch; 0: one for small networks, all cores for images", low=0)
    deterministic: bool = key(False, "torch.use_deterministic_algorithms")


@dataclass
class RunDirConfig:
    dir: str | None = key(None, "exactly this folder")
    root: str = key("runs", "where run folders are made")
    name: str | None = key(None, "folder under root; null: ENV-AGENT")


@dataclass
class RunConfig:
    """The whole run. `agent` is the chosen agent's own dataclass."""

    agent: Any = None
    env: EnvConfig = field(default_factory=EnvConfig)
    net: NetConfig = field(default_factory=NetConfig)
    wrappers: dict[str, dict[str, Any]] = field(default_factory=dict)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    logger: dict[str, dict[str, Any]] = field(default_factory=dict)
    accel: AccelConfig = field(default_factory=AccelConfig)
    run: RunDirConfig = field(default_factory=RunDirConfig)
    seed: int = key(0, "root of every random stream of the run", low=0, high=2**31 - 1)
    device: str = key("auto", "where tensors live", choices=DEVICES)
    resume: str | None = key(None, "a run (path, name, latest) to continue, or auto")
    plugins: list[str] = key([], "modules to import first; they register names")  # noqa: RUF009

    words: ClassVar[Sequence[str]] = ()  # no key: the overrides that composed it, so that resume can compare


def conf_dir() -> Path:
    """The YAML groups: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def agent_config(name: str, plugins: Sequence[str] = ()) -> type[Any]:
    """The configuration class of an agent; UserError names the way out.

    plugins: modules that a stored run names; they are not imported, only told.
    """
    if name not in agents:
        if plugins:
            flag = f"plugins=[{','.join(plugins)}]"
            raise UserError(
                f"the agent {name!r} is not known here; it may come from the run's plugins: add {flag}."
            )
        near = nearest(name, agents.names())
        meant = f"did you mean {near[0]}?" if near else "your own is registered by a module in plugins=[…]."
        raise UserError(f"there is no agent {name!r} (known: {', '.join(agents.names())}); {meant}")
    config: type[Any] = agents.get(name).Config
    return config


def check(data: Mapping[str, Any], agent: type[Any] | None = None, plugins: Sequence[str] = ()) -> RunConfig:
    """The whole composed configuration as dataclasses, or UserError naming the first mistake.

    data: plain containers, interpolations resolved. agent: the chosen agent's `Config`, looked up by
    `data["agent"]["name"]` if not given.
    """
    own = data.get("agent")
    if not isinstance(own, Mapping) or not isinstance(own.get("name"), str):
        raise UserError(f"no agent is chosen: write agent=NAME with one of {', '.join(agents.names())}.")
    agent = agent or agent_config(own["name"], plugins)
    rest = {name: value for name, value in data.items() if name != "agent"}
    config = read(RunConfig, rest, also=keys_of(agent, "agent."))
    everything = [name for name in keys_of(RunConfig) if name != "agent"]
    config.agent = read(agent, own, "agent.", also=everything)
    for name in config.logger:
        if name not in LOGGERS:
            raise UserError(f"there is no logger {name!r}; choose among {', '.join(LOGGERS)}.")
    return config


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Plain containers with the keys of the YAML groups."""
    return asdict(config)


def to_yaml(config: RunConfig) -> str:
    """The text of a run folder's config.yaml; `load_run_config` reads it back equal."""
    text: str = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=110)
    return text


def load_run_config(folder: Path | str, plugins: Sequence[str] = ()) -> RunConfig:
    """Read a run folder's config.yaml. Nothing that the file names is imported or called.

    Own agents must have been registered before, by the modules that this command names in plugins=[…].
    """
    path = Path(folder) / "config.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} is no run folder: it has no config.yaml.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({reason}); choose another run.") from None
    if not isinstance(data, Mapping):
        raise UserError(f"{path} holds no configuration; choose another run.")
    if found := _targets(data):
        raise UserError(f"{path} names code to call ({found}); a run folder is data, so it is not opened.")
    stored = data.get("plugins")
    missing = [str(name) for name in stored if name not in plugins] if isinstance(stored, list) else []
    try:
        return check(data, plugins=missing)
    except UserError as error:
        if "is not known here" in str(error):
            raise
        raise UserError(f"{path} was written by another version of rlkit or by hand: {error}") from None


def require_trusted(config: RunConfig, plugins: Sequence[str] = ()) -> None:
    """Refuse a stored run that would import a module which this very command does not name in plugins=[…]."""
    for name, module in imported(config).items():
        if module not in plugins:
            raise UserError(
                f"the run's environment {name} imports the module {module}; "
                f"if you trust it, add plugins=[{module}]."
            )


def imported(config: RunConfig) -> dict[str, str]:
    """Environment → the module that it imports.

    Gymnasium imports the part before the colon of `module:Id`, also where such an id is an argument of
    another environment.
    """
    found = {}
    for name in [config.env.id, *_texts(config.env.kwargs), *_texts(config.wrappers)]:
        match = re.fullmatch(r"(?:gym:)?([^\s:/\\]+):.+", name)
        if match and match[1] != "gym":  # gym:Id is the old gym's own
            found[name] = match[1]
    return found


def _texts(data: Any) -> Iterator[str]:
    """Every text in a nest of mappings and lists, the keys of mappings left out."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping | list):
        for value in data.values() if isinstance(data, Mapping) else data:
            yield from _texts(value)


def _targets(data: Any, path: str = "") -> str | None:
    """The first key that Hydra would call, if any."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            here = f"{path}.{name}" if path else str(name)
            if name in ("_target_", "_partial_"):
                return f"{here}: {value}"
            if found := _targets(value, here):
                return found
    if isinstance(data, list):
        return next((found for item in data if (found := _targets(item, path))), None)
    return None
