"""What an environment needs that another process would not know: it travels there by value.

Names that were registered by hand, in a notebook cell or in a script, are known in this process alone.
"""

from __future__ import annotations

import pickle
from dataclasses import replace

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector.utils import CloudpickleWrapper

from rlkit import registry
from rlkit.envs import catalog
from rlkit.envs.factory import EnvMaker, own_class
from rlkit.errors import UserError


def pack(maker: EnvMaker) -> bytes:
    """The objects behind the maker's names, by value where the main script or a notebook defined them.

    Raises UserError for what cannot travel (a lock, an open file).
    """
    name = maker.config.id
    module, _, bare = name.rpartition(":")
    found = {("wrapper", key): registry.wrappers.get(key) for key in maker.wrappers}
    if name in registry.envs:
        found["environment", name] = registry.envs.get(name)
    elif module == "__main__" and (own := own_class(name)):
        found["environment", name] = own
    elif module in ("", "__main__") and (spec := gym.registry.get(bare)):
        if str(spec.entry_point).startswith("__main__:"):
            spec = replace(spec, entry_point=load_env_creator(str(spec.entry_point)))
        found["environment", bare] = spec
    packed = {}
    for (kind, key), thing in found.items():
        try:
            packed[kind, key] = pickle.dumps(CloudpickleWrapper(thing))
        except Exception as error:  # whatever a __reduce__ raises
            reason = str(error) or type(error).__name__
            raise UserError(
                f"the {kind} {key} cannot be sent to a worker process ({reason}); "
                "make that object in its __init__, or in a module that it imports"
            ) from error
    return pickle.dumps(packed)


def unpack(luggage: bytes, name: str) -> None:
    """Register here, in a worker, what was packed there."""
    for (kind, key), packed in pickle.loads(luggage).items():
        try:
            thing = pickle.loads(packed).fn
        except Exception as error:
            raise UserError(
                f"a worker process cannot load the {kind} {key} ({type(error).__name__}: {error}); "
                "put it into a module that can be imported, or take env.engine=sync"
            ) from error
        if isinstance(thing, EnvSpec):
            catalog.prepare(name)
            gym.registry.setdefault(key, thing)
            continue
        known = registry.wrappers if kind == "wrapper" else registry.envs
        if key not in known:
            known.add(key, thing)
