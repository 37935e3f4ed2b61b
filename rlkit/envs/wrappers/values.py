"""What YAML says, as Gymnasium's wrappers want it: arrays, tuples, number types, code by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from rlkit.registry import import_here


def array(value: Any) -> Any:
    """[-1, 1] → float32 array; a number serves for all."""
    return np.asarray(value, np.float32) if isinstance(value, list | tuple) else np.float32(value)


def shape(value: Any) -> Any:
    """[84, 84] → (84, 84); one number stays."""
    return tuple(value) if isinstance(value, list) else value


pair = shape


def dtype(value: Any) -> Any:
    """ "float32" → numpy's; ValueError for a name that numpy does not know."""
    try:
        return np.dtype(value)
    except TypeError:
        raise ValueError(f"dtype={value} is no number type; float32, uint8 and int64 are") from None


def code(value: Any) -> Any:
    """ "module:function" → the function, imported; None stays None. ValueError where there is none.

    Only what a user wrote comes here: stored runs are asked for trust before (`config.require_trusted`).
    """
    if value is None or not isinstance(value, str):
        return value
    module, colon, attribute = value.partition(":")
    if not colon:
        raise ValueError(f"{value!r} is no code: write module:function")
    import_here(module)
    try:
        return getattr(import_module(module), attribute)
    except AttributeError:
        raise ValueError(f"the module {module} has no {attribute}") from None
