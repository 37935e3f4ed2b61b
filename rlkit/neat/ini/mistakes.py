"""What a check finds: mistakes with the edits that mend them, and the values that are right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlkit.neat.ini.keys import KEYS
from rlkit.neat.ini.reading import Entry


@dataclass(frozen=True)
class Sizes:
    """What an environment asks of networks, and what it counts as solved."""

    env: str
    inputs: int
    outputs: int
    threshold: float | None = None


@dataclass(frozen=True)
class Edit:
    """Lines `first` … `last` become `put`; without `first`, `put` is added at the end of `section`."""

    first: int | None = None
    last: int = 0
    put: tuple[str, ...] = ()
    section: str = ""


@dataclass(frozen=True)
class Mistake:
    """What is wrong, where, and what mends it."""

    kind: str  # line section duplicate unknown misspelt misplaced type range missing contradiction size
    section: str
    key: str
    text: str
    line: int | None = None  # None: it is nowhere
    edits: tuple[Edit, ...] = ()


@dataclass
class Checked:
    """What a file says where it is right: keys with their values, and where they stand."""

    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, Entry] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)  # keys in lines that do not count, but will be mended
    mistakes: list[Mistake] = field(default_factory=list)

    def given(self, *names: str) -> bool:
        return all(name in self.values for name in names)

    def change(self, name: str, value: str) -> Edit:
        """The edit that gives a key this value."""
        entry = self.where.get(name)
        return (
            changed(entry, value) if entry else Edit(put=(f"{name} = {value}",), section=KEYS[name].section)
        )


def changed(entry: Entry, value: str, name: str = "", remark: str = "") -> Edit:
    """A key with another value or name; what was a remark behind it stands above."""
    above = (f"# {remark.lstrip('#; ')}",) if remark.lstrip("#; ") else ()
    return Edit(entry.line, entry.last, (*above, f"{name or entry.written} = {value}"))
