"""The file without its mistakes: the same lines and remarks, with as few of them changed as will do."""

from __future__ import annotations

from rlkit.neat.ini.checking import check
from rlkit.neat.ini.mistakes import Edit, Mistake, Sizes
from rlkit.neat.ini.reading import File, read

_ROUNDS = 50  # what one edit uncovers the next one mends


def corrected(text: str, sizes: Sizes | None = None) -> str:
    """A text that `check` finds no mistake in."""
    for _ in range(_ROUNDS):
        file = read(text)
        mistakes = check(file, sizes).mistakes
        if not mistakes:
            return text
        text = _applied(file, mistakes)
    raise AssertionError(f"not corrected after {_ROUNDS} rounds: {mistakes[0].text}")


def _applied(file: File, mistakes: list[Mistake]) -> str:
    """The edits of all mistakes whose lines no other mistake has changed already."""
    lines: dict[int, tuple[str, ...]] = {number: (line,) for number, line in enumerate(file.lines, start=1)}
    touched: set[int] = set()
    added: dict[str, list[str]] = {}
    for mistake in mistakes:
        mine = {number for edit in mistake.edits for number in _range(edit)}
        if mine & touched:
            continue
        touched |= mine
        for edit in mistake.edits:
            if edit.first is None:
                added.setdefault(edit.section, []).extend(edit.put)
                continue
            for number in _range(edit):
                lines[number] = edit.put if number == edit.first else ()
    for section, more in added.items():
        end = _end(file, section)
        if end is None:
            end = len(file.lines)
            gap = ("",) if end and lines[end] != ("",) else ()
            lines[end] = (*lines.get(end, ()), *gap, f"[{section}]", *more)
        else:
            lines[end] = (*lines[end], *more)
    return "\n".join(line for number in sorted(lines) for line in lines[number]) + "\n"


def _range(edit: Edit) -> range:
    return range(edit.first or 1, edit.last + 1)


def _end(file: File, section: str) -> int | None:
    """The last line of a section that is neither empty nor a remark."""
    header = next((header for header in file.headers if header.name == section), None)
    if header is None:
        return None
    after = min((h.line for h in file.headers if h.line > header.line), default=len(file.lines) + 1)
    ends = [entry.last for entry in file.entries if header.line < entry.line < after]
    return max(ends, default=header.line)
