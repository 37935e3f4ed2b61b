"""Gymnasium spaces ⇄ flat tensors. Shapes: N lanes, A action width.

An observation of any space becomes a dict of leaves (`ObsSpec`), an action of any space one tensor
[N, A] (`ActionSpec`). Only the environment's door knows the nested form. A leaf of a nested space is
named by its path, "camera" or "pos/0", in Gymnasium's own order; a lone space is one leaf.
"""

from rlkit.spaces.actions import ActionLeaf, ActionSpec
from rlkit.spaces.nesting import describe
from rlkit.spaces.observations import MASK_NAME, ObsLeaf, ObsSpec
from rlkit.spaces.slab import Slab

__all__ = ["MASK_NAME", "ActionLeaf", "ActionSpec", "ObsLeaf", "ObsSpec", "Slab", "describe"]
