"""Memory predicted before the run: what does not fit is refused, not discovered after hours."""

from __future__ import annotations

import os
from typing import Any

import torch

from rlkit.errors import UserError
from rlkit.types import AgentSetup

_MARGIN = 0.9  # of what is free: networks, activations and the rest of the machine live there too


def free_bytes(device: torch.device) -> int:
    """Bytes that `device` can still give."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - not a file of ours
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def refuse_if_too_large(agent_class: Any, config: Any, setup: AgentSetup) -> None:
    """Agents with a replay say how many bytes it takes when full (`nbytes`); more than is free is refused."""
    predict = getattr(agent_class, "nbytes", None)
    if predict is None:
        return
    needed, free = int(predict(config, setup)), free_bytes(setup.device)
    if needed > _MARGIN * free:
        raise UserError(
            f"the replay of agent.buffer_size={config.buffer_size} takes {needed / 1e9:.1f} GB when full, "
            f"and {setup.device} has {free / 1e9:.1f} GB free; make agent.buffer_size smaller"
        )
