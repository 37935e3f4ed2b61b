"""The lines of a file as Python's configparser understands them, which neat-python reads with.

Written anew because configparser keeps no line numbers and stops at the first mistake: a line that begins
further right than the key above it continues that key's value, a comment stands on a line of its own, keys
are read in lower case, sections are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from rlkit.errors import UserError

_SECTION = re.compile(r"\[(?P<name>.+)\]")
_ENTRY = re.compile(r"(?P<name>.*?)\s*[=:]\s*(?P<value>.*)$")
_MOST = 1_000_000  # characters; a configuration has a few thousand


@dataclass
class Entry:
    """One key with its value: line by line where the value goes on, as `value` joins them."""

    section: str
    written: str  # the key as it stands in the file
    line: int  # 1-based
    values: list[str]
    last: int  # the last line of its value

    @property
    def name(self) -> str:
        return self.written.lower()

    @property
    def value(self) -> str:
        return "\n".join(self.values).rstrip()


@dataclass
class Header:
    name: str
    line: int


@dataclass
class File:
    path: str
    lines: list[str]
    headers: list[Header] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    strays: list[int] = field(default_factory=list)  # lines that are neither header, nor key = value
    homeless: list[int] = field(default_factory=list)  # keys above the first section
    mark: bool = False  # an invisible byte order mark stands at the very beginning


def load(path: Path | str) -> File:
    """Read a file. UserError where that is impossible."""
    try:
        data = Path(path).expanduser().read_bytes()
        return read(data.decode("utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; give the path of a neat-python configuration.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the path of a neat-python configuration.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8; save it as such.") from None


def read(text: str, path: str = "") -> File:
    """Read the text of a file."""
    if len(text) > _MOST or "\0" in text:
        raise UserError(f"{path} is no neat-python configuration: it is too long or no text.")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    file = File(path, lines[:-1] if not lines[-1] else lines, mark=text.startswith("\ufeff"))
    section: Header | None = None
    entry: Entry | None = None
    indent = 0
    for number, line in enumerate(file.lines, start=1):
        words = line.strip()
        if words.startswith(("#", ";")):
            continue
        if not words:
            if entry is not None:
                entry.values.append("")
            continue
        here = len(line) - len(line.lstrip())
        if entry is not None and here > indent:
            entry.values.append(words)
            entry.last = number
            continue
        indent, entry = here, None
        if found := _SECTION.match(words):
            section = Header(found["name"], number)
            file.headers.append(section)
            continue
        if section is None:
            file.homeless.append(number)
        elif (found := _ENTRY.match(words)) and found["name"]:
            entry = Entry(section.name, found["name"].rstrip(), number, [found["value"].strip()], number)
            file.entries.append(entry)
        else:
            file.strays.append(number)
    return file
