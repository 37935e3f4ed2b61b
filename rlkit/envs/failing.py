"""Exceptions of other people's environments as facts: what was raised, on which line, what to write there."""

from __future__ import annotations

import inspect
import linecache
import re
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NUMPY_2 = {  # names that NumPy 1.24 and 2.0 took away → what to write
    "bool8": "np.bool_", "bool": "bool", "float_": "np.float64", "float": "float", "int": "int",
    "int0": "np.intp", "object": "object", "str": "str", "complex": "complex", "infty": "np.inf",
    "Inf": "np.inf", "NaN": "np.nan", "product": "np.prod", "cumproduct": "np.cumprod", "alltrue": "np.all",
    "sometrue": "np.any", "round_": "np.round", "unicode_": "np.str_", "string_": "np.bytes_",
}  # fmt: skip
_GENERATOR = {  # of the old RandomState → of today's Generator, which is self.np_random
    "rand": "random", "random_sample": "random", "randint": "integers", "random_integers": "integers",
    "randn": "standard_normal", "seed": "reset(seed=…)",
}  # fmt: skip


def sentence(error: BaseException) -> str:
    """ "ValueError: what it says", on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException, kind: type | None = None) -> str:
    """ "Class.function, file:line" of the innermost line that the user wrote.

    kind: the environment's class, whose file is the user's; without it, anything but installed packages.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    found = _line(error, kind)
    return f"{found.function}, {found.file}:{found.number}" if found else "an unknown line"


def mend(error: BaseException, kind: type | None = None) -> str:
    """What to write instead, where that is known; else the line to look at."""
    text = str(error)
    gone = re.search(r"module 'numpy' has no attribute '(\w+)'", text)
    if gone and gone[1] in _NUMPY_2:
        return f"{_NUMPY_2[gone[1]]} instead of np.{gone[1]}, which NumPy has no more"
    gone = re.search(r"'numpy.random\S*Generator' object has no attribute '(\w+)'", text)
    if gone and gone[1] in _GENERATOR:
        return f"self.np_random.{_GENERATOR[gone[1]]} instead of .{gone[1]}"
    if isinstance(error, NotImplementedError):
        return "write the method; step returns obs, reward, terminated, truncated, {}, and reset obs, {}"
    found = _line(error, kind)
    return f"mend this line: {found.text}" if found and found.text else "mend what it says"


@dataclass(frozen=True)
class _Line:
    function: str  # with its class
    file: str
    number: int
    text: str


def _line(error: BaseException, kind: type | None) -> _Line | None:
    lines = [
        _Line(frame.f_code.co_qualname, frame.f_code.co_filename, number,
              linecache.getline(frame.f_code.co_filename, number).strip())
        for frame, number in traceback.walk_tb(error.__traceback__)
    ]  # fmt: skip
    own = None
    if kind is not None:
        with suppress(OSError, TypeError):
            own = inspect.getsourcefile(kind)
    here = str(Path(__file__).parent.parent)
    theirs = [x for x in lines if "site-packages" not in x.file and not x.file.startswith((here, "<"))]
    chosen = [x for x in lines if x.file == own] or theirs or lines
    return chosen[-1] if chosen else None
