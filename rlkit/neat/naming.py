"""What the inputs and outputs of a network are called, and its functions: enough to draw it without a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gymnasium.spaces import Discrete, MultiDiscrete

from rlkit.spaces import MASK_NAME, ActionSpec, ObsLeaf, ObsSpec

Leaf = tuple[str, int | list[int]]  # name, and how many numbers it has or the sizes of its choices


@dataclass(frozen=True)
class Names:
    """Inputs and outputs leaf by leaf. A Box of 4 is ("obs", 4), a Discrete(16) ("obs", [16])."""

    inputs: tuple[Leaf, ...]
    outputs: tuple[Leaf, ...]
    activations: tuple[str, ...]
    aggregations: tuple[str, ...]

    @staticmethod
    def of(
        obs: ObsSpec, action: ActionSpec, activations: Sequence[str], aggregations: Sequence[str]
    ) -> Names:
        """Derived from the spaces, in the order in which networks see and answer."""
        return Names(
            inputs=tuple((leaf.name, _shape(leaf)) for leaf in obs.leaves if leaf.name != MASK_NAME),
            outputs=tuple(
                (leaf.name, list(leaf.n) if leaf.kind in ("discrete", "multidiscrete") else leaf.width)
                for leaf in action.leaves
            ),
            activations=tuple(activations),
            aggregations=tuple(aggregations),
        )

    def state_dict(self) -> dict[str, Any]:
        return {name: list(getattr(self, name)) for name in self.__dataclass_fields__}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Names:
        return Names(
            inputs=tuple((name, shape) for name, shape in state["inputs"]),
            outputs=tuple((name, shape) for name, shape in state["outputs"]),
            activations=tuple(state["activations"]),
            aggregations=tuple(state["aggregations"]),
        )


def _shape(leaf: ObsLeaf) -> int | list[int]:
    """As the encoder sees the leaf: integers become one-hots."""
    if isinstance(leaf.space, Discrete):
        return [int(leaf.space.n)]
    if isinstance(leaf.space, MultiDiscrete):
        return [int(n) for n in leaf.space.nvec.reshape(-1)]
    return leaf.numel


def count(leaves: Sequence[Leaf]) -> int:
    return sum(shape if isinstance(shape, int) else sum(shape) for _, shape in leaves)


def labels(leaves: Sequence[Leaf]) -> list[str]:
    """One for each number: obs[0] … obs[3]; a choice is action=0, the second column's is action[1]=0."""
    found: list[str] = []
    for name, shape in leaves:
        if isinstance(shape, int):
            found += [f"{name}[{k}]" for k in range(shape)]
        elif len(shape) == 1:
            found += [f"{name}={k}" for k in range(shape[0])]
        else:
            found += [f"{name}[{column}]={k}" for column, size in enumerate(shape) for k in range(size)]
    return found
