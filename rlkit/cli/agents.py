"""`rlkit agents`: which agent serves which action space and which observation space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlkit.cli.options import parse, print_json
from rlkit.config import key
from rlkit.registry import agents, load_plugins


@dataclass
class AgentsOptions:
    plugins: list[str] = key([], "modules to import first; their agents are listed too")  # noqa: RUF009
    json: bool = key(False, "print JSON, with the reason of every refusal")


def run(arguments: Sequence[str]) -> int:
    options = parse(arguments, AgentsOptions, "agents")
    if options is None:
        return 0
    load_plugins(options.plugins)
    rows = table()
    if options.json:
        print_json(rows)
        return 0
    actions = list(dict.fromkeys(row["action"] for row in rows))
    print("agent".ljust(10) + "".join(name.ljust(15) for name in actions))
    for agent in dict.fromkeys(row["agent"] for row in rows):
        mine = [row for row in rows if row["agent"] == agent]
        cells = [_cell([row for row in mine if row["action"] == action]) for action in actions]
        print(str(agent).ljust(10) + "".join(cell.ljust(15) for cell in cells))
    seen = list(dict.fromkeys(row["obs"] for row in rows))
    print(f"\nyes: with every observation space ({', '.join(seen)}); not:X: with all of them but X")
    return 0


def table() -> list[dict[str, Any]]:
    """One row per agent, action space and observation space; `why_not` is None where the agent serves."""
    from rlkit.spaces import ActionSpec, ObsSpec

    rows = []
    for name in agents.names():
        agent = agents.get(name)
        for action, action_space in _actions().items():
            for obs, obs_space in _observations().items():
                why_not = agent.serves(ActionSpec.of(action_space), ObsSpec.of(obs_space))
                rows.append({"agent": name, "action": action, "obs": obs, "why_not": why_not})
    return rows


def _cell(rows: list[dict[str, Any]]) -> str:
    served = [row["obs"] for row in rows if row["why_not"] is None]
    if len(served) == len(rows):
        return "yes"
    if len(served) > len(rows) / 2:
        return "not:" + ",".join(row["obs"] for row in rows if row["why_not"] is not None)
    return ",".join(served) or "-"


def _actions() -> dict[str, Any]:
    from gymnasium import spaces

    return {
        "Discrete": spaces.Discrete(3),
        "Box": spaces.Box(-1.0, 1.0, (2,)),
        "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
        "MultiBinary": spaces.MultiBinary(4),
        "Tuple": spaces.Tuple((spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,)))),
        "Dict": spaces.Dict(move=spaces.Discrete(3), aim=spaces.Dict(angle=spaces.Box(-1.0, 1.0, (1,)))),
    }


def _observations() -> dict[str, Any]:
    import numpy as np
    from gymnasium import spaces

    return {
        "vector": spaces.Box(-1.0, 1.0, (4,)),
        "image": spaces.Box(0, 255, (84, 84, 3), np.uint8),
        "Discrete": spaces.Discrete(5),
        "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
        "MultiBinary": spaces.MultiBinary(4),
        "Tuple": spaces.Tuple((spaces.Discrete(5), spaces.Box(-1.0, 1.0, (2,)))),
        "Dict": spaces.Dict(where=spaces.Box(-1.0, 1.0, (2,)), kind=spaces.Discrete(3)),
    }
