"""A plugin of rlkit: importing it makes three names known. Their code is imported when it is used."""

import gymnasium

from rlkit.registry import agents, wrappers

gymnasium.register("Corridor-v0", entry_point="rlkit_example.corridor:Corridor", max_episode_steps=100,
                   reward_threshold=0.9)  # fmt: skip
agents.add("tabular_q", "rlkit_example.tabular_q:TabularQ")
wrappers.add("slippery", "rlkit_example.slippery:Slippery")
