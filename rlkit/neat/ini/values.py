"""One value from its text, exactly as far as neat-python 2.0 accepts it, and a guess at what was meant."""

from __future__ import annotations

import math
import re
from typing import Any

from rlkit.check import nearest
from rlkit.neat.ini.keys import ANY, NO, YES, Key

_REMARK = re.compile(r"^(?P<value>.*?)\s+(?P<remark>[#;].*)$")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_PERCENT = re.compile(r"([+-]?\d+(?:\.\d*)?)\s*%")


class Wrong(Exception):
    """What is wrong with a value, which kind of mistake it is, and what was probably meant."""

    def __init__(self, kind: str, text: str, meant: str, remark: str = "") -> None:
        super().__init__(text)
        self.kind, self.meant, self.remark = kind, meant, remark


def parse(key: Key, text: str) -> Any:
    """The value: int, float, bool, text in lower case, a list of names, or (connection, fraction).

    Raises Wrong. None for an optional key that stands for nothing (`seed`).
    """
    if found := _REMARK.match(text):
        raise Wrong(
            "type",
            f"{text!r}: the comment is part of the value, because Python's configparser knows comments on "
            "lines of their own only",
            found["value"],
            found["remark"],
        )
    if "%" in text:
        percent = _PERCENT.fullmatch(text)
        meant = f"{float(percent[1]) / 100:g}" if percent else _guess(key, text)
        raise Wrong("type", f"{text!r}: configparser takes % for a reference; write the value itself", meant)
    if not text:
        raise Wrong("type", "has no value", key.advice)
    if key.kind in ("int", "float"):
        return _within(key, _number(key, text), text)
    if key.kind == "bool":
        return _truth(key, text)
    if key.kind == "names":
        return _names(key, text)
    return _connection(key, text) if key.kind == "connection" else _choice(key, text)


def _number(key: Key, text: str) -> float:
    """What int() and float() of Python read."""
    try:
        value = int(text) if key.kind == "int" else float(text)
    except ValueError:
        kind = "a whole number" if key.kind == "int" else "a number"
        raise Wrong("type", f"{text!r} is not {kind}", _guess(key, text)) from None
    if not math.isfinite(value):
        instead = "; write no_fitness_termination = True" if key.name == "fitness_threshold" else ""
        raise Wrong("range", f"{text} is no finite number{instead}", key.advice)
    return value


def _guess(key: Key, text: str) -> str:
    found = _NUMBER.search(text) if key.kind in ("int", "float") else None
    if found is None:
        return key.advice
    value = float(found[0])
    if not math.isfinite(value):
        return key.advice
    return str(round(value)) if key.kind == "int" else found[0]


def _within(key: Key, value: float, text: str) -> float:
    low, high, above = key.low, key.high, key.above
    if low is not None and value < low:
        raise Wrong("range", f"{text} is less than {low:g}", _text(key, low))
    if above is not None and value <= above:
        raise Wrong("range", f"{text} is not above {above:g}", key.advice)
    if high is not None and value > high:
        raise Wrong("range", f"{text} is more than {high:g}", _text(key, high))
    return value


def _text(key: Key, value: float) -> str:
    return str(int(value)) if key.kind == "int" else str(float(value))


def _truth(key: Key, text: str) -> bool:
    """In [NEAT] configparser decides, and yes, on and 1 are true; elsewhere only True and False are read."""
    word = text.lower()
    yes, no = (YES, NO) if key.section == "NEAT" else (("true",), ("false",))
    if word in (*yes, *no):
        return word in yes
    meant = "True" if word in (*YES, "y", "t") else "False" if word in (*NO, "n", "f") else key.advice
    raise Wrong("type", f"{text!r} is neither True nor False", meant)


def _names(key: Key, text: str) -> list[str]:
    """neat-python cuts at single blanks: two of them leave an empty name, which it fails at later."""
    names = text.split(" ")
    known = [name for name in re.split(r"[\s,;]+", text) if name]
    meant = [_nearest(name, key) for name in known]
    good = " ".join(dict.fromkeys(name for name in meant if name)) or key.advice
    if wrong := [name for name in names if name and name not in key.choices]:
        raise Wrong("range", f"{_shown(wrong)} not known; there are {', '.join(key.choices)}", good)
    if len(set(known)) < len(known):
        raise Wrong("range", f"{text!r} names one twice", good)
    if "" in names:
        raise Wrong("type", f"{text!r}: two blanks in a row leave an empty name between them", good)
    return names


def _shown(names: list[str]) -> str:
    return f"{', '.join(map(repr, names))} {'is' if len(names) == 1 else 'are'}"


def _nearest(name: str, key: Key) -> str | None:
    if name in key.choices:
        return name
    found = nearest(name, key.choices)
    return found[0] if found else None


def _choice(key: Key, text: str) -> str:
    """Case matters as it does to neat-python: not for truths, defaults of genes and init types."""
    word = text.lower()
    if key.name.endswith("_init_type"):  # it looks for a part of the word
        for kind, part in (("gaussian", "gauss"), ("gaussian", "normal"), ("uniform", "uniform")):
            if part in word:
                return kind
    elif key.name in ("enabled_default", "structural_mutation_surer"):
        if word in key.choices:
            return "true" if word in YES else "false" if word in NO else word
    elif text in key.choices:
        return "random" if text in ANY else text
    shown = [c for c in key.choices if c not in ("1", "yes", "on", "0", "no", "off")]
    raise Wrong(
        "range", f"{text!r} is not known; there are {', '.join(shown)}", _nearest(word, key) or key.advice
    )


def _connection(key: Key, text: str) -> tuple[str, float]:
    """`full_direct`, or `partial_direct 0.5`: partial ones name the share of connections."""
    name, *rest = text.split()
    if "partial" in text:
        fraction = _fraction(rest)
        if name in key.choices and fraction is not None and 0 <= fraction <= 1:
            return name, fraction
        good = name if name in key.choices else (_nearest(name, key) or "partial_direct")
        share = 0.5 if fraction is None else min(max(fraction, 0.0), 1.0)
        reason = "needs a share between 0 and 1 behind its name, as in partial_direct 0.5"
        if name not in key.choices:
            raise Wrong("range", _unknown(key, text), f"{good} {share}" if "partial" in good else good)
        raise Wrong("range", f"{text!r} {reason}", f"{good} {share}")
    if text in key.choices:
        return text, 1.0
    near = name if name in key.choices else _nearest(text, key) or key.advice
    raise Wrong("range", _unknown(key, text), f"{near} 0.5" if "partial" in near else near)


def _unknown(key: Key, text: str) -> str:
    return f"{text!r} is not known; there are {', '.join(key.choices)}"


def _fraction(words: list[str]) -> float | None:
    try:
        value = float(words[0]) if len(words) == 1 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
