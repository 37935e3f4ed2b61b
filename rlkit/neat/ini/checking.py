"""Every mistake of a file at once, each with the edits that mend it.

What counts as a mistake is what neat-python 2.0 refuses, fails at later, or passes over in silence.
"""

from __future__ import annotations

from collections import Counter

from rlkit.check import nearest
from rlkit.neat.ini.keys import KEYS, SECTIONS, Key, keys_of
from rlkit.neat.ini.mistakes import Checked, Edit, Mistake, Sizes, changed
from rlkit.neat.ini.reading import Entry, File, Header
from rlkit.neat.ini.relations import contradictions, misfits
from rlkit.neat.ini.values import Wrong, parse

_OTHER = {
    "DEFAULT": "configparser copies the keys of [DEFAULT] into every section, where they are unknown",
    "IZGenome": "[IZGenome] is for neat-python's spiking networks, which rlkit does not have",
}


def check(file: File, sizes: Sizes | None = None) -> Checked:
    """All mistakes, in the order of lines; what is nowhere comes last, in the order of sections."""
    checked = Checked()
    found = checked.mistakes
    if file.mark:
        found.append(Mistake("line", "", "", "an invisible mark (BOM) stands before the first letter", 1))
    _strays(file, checked)
    homes = _sections(file, found)
    _entries(file, homes, checked)
    _missing(homes, checked, sizes)
    found += contradictions(checked)
    if sizes is not None:
        found += misfits(checked, sizes)
    place = {name: number for number, name in enumerate(SECTIONS)}
    found.sort(key=lambda m: (m.line is None, m.line or 0, place.get(m.section, 0) if m.line is None else 0))
    return checked


def _strays(file: File, checked: Checked) -> None:
    """Lines above the first section, and lines that are neither a section nor key = value."""
    for number in sorted([*file.homeless, *file.strays]):
        line = file.lines[number - 1].strip()
        name, _, value = line.replace("=", " ").replace(":", " ").partition(" ")
        key, value = KEYS.get(name.lower()), value.strip()
        edits: tuple[Edit, ...] = (Edit(number, number, (f"# {line}",)),)
        text = f"{line!r} is neither a [section] nor key = value"
        if number in file.homeless:
            text = f"{line!r} stands above the first [section]"
            if key is not None and value:
                checked.elsewhere.add(key.name)
                edits = (Edit(number, number), Edit(put=(f"{key.name} = {value}",), section=key.section))
        elif key is not None and value:
            checked.elsewhere.add(key.name)
            text = f"{line!r} lacks the = between key and value"
            edits = (Edit(number, number, (f"{name} = {value}",)),)
        checked.mistakes.append(Mistake("line", "", name if key else "", text, number, edits))


def _sections(file: File, found: list[Mistake]) -> dict[str, str]:
    """Sections as they are written → what they are ("" for none that neat-python reads)."""
    homes: dict[str, str] = {}
    written = {header.name for header in file.headers}
    times = Counter[str]()
    for header in file.headers:
        name = header.name
        times[name] += 1
        if times[name] > 1:
            text = f"[{name}] is there twice, and configparser refuses it"
            found.append(Mistake("duplicate", name, "", text, header.line, _merge(file, header)))
            continue
        if name in SECTIONS:
            homes[name] = name
            continue
        near = [n for n in nearest(name, SECTIONS) if n not in written and n not in homes.values()]
        if near and name not in _OTHER:
            homes[name] = near[0]
            text = f"there is no section [{name}]; did you mean [{near[0]}]?"
            edits: tuple[Edit, ...] = (Edit(header.line, header.line, (f"[{near[0]}]",)),)
            found.append(Mistake("misspelt", name, "", text, header.line, edits))
        else:
            homes[name] = ""
            text = _OTHER.get(name, f"there is no section [{name}]; neat-python does not read it")
            first, last = header.line, _last(file, header)
            lines = tuple(_remark(line) for line in file.lines[first - 1 : last])
            found.append(Mistake("section", name, "", text, header.line, (Edit(first, last, lines),)))
    return homes


def _last(file: File, header: Header) -> int:
    """The last line of a section."""
    after = [other.line for other in file.headers if other.line > header.line]
    return min(after) - 1 if after else len(file.lines)


def _merge(file: File, header: Header) -> tuple[Edit, ...]:
    last = _last(file, header)
    rest = tuple(line for line in file.lines[header.line : last] if line.strip())
    return (Edit(header.line, last), Edit(put=rest, section=header.name))


def _remark(line: str) -> str:
    words = line.strip()
    return f"# {words}" if words and not words.startswith(("#", ";")) else words


def _entries(file: File, homes: dict[str, str], checked: Checked) -> None:
    """Names first: a key that is there in two spellings is no misspelling. Then values."""
    found = checked.mistakes
    there = {(homes[entry.section], entry.name) for entry in file.entries}
    seen: dict[tuple[str, str], int] = {}
    for entry in file.entries:
        home = homes[entry.section]
        if not home:
            continue
        place = (home, entry.name)
        if place in seen:
            same = f"{entry.written} is there already, in line {seen[place]}; configparser refuses it"
            found.append(
                Mistake("duplicate", home, entry.written, same, entry.line, (_silenced(file, entry),))
            )
            continue
        seen[place] = entry.line
        key = _meant(file, entry, home, there, checked)
        if key is None or key.name in checked.where:
            continue
        checked.where[key.name] = entry
        _value(file, entry, key, checked)


def _meant(file: File, entry: Entry, home: str, there: set[tuple[str, str]], checked: Checked) -> Key | None:
    """The key that an entry is; a mistake is noted where it is written otherwise or elsewhere."""
    key, found = KEYS.get(entry.name), checked.mistakes
    silent = home == "DefaultGenome"
    if key is not None and key.section == home:
        return key
    if key is not None:
        text = f"{key.name} belongs in [{key.section}]" + (", and is ignored here" if silent else "")
        if (key.section, key.name) in there:
            found.append(
                Mistake("misplaced", home, entry.written, text, entry.line, (_silenced(file, entry),))
            )
            return None
        edits = (
            Edit(entry.line, entry.last),
            Edit(put=(f"{key.name} = {entry.value}",), section=key.section),
        )
        found.append(Mistake("misplaced", home, entry.written, text, entry.line, edits))
        return key
    near = nearest(entry.name, [k.name for k in keys_of(home)], cutoff=0.7)
    name = near[0] if near and (home, near[0]) not in there else None
    after = "; neat-python ignores it in silence" if silent else ""
    if name is None:
        text = f"there is no key {entry.written}{after}"
        found.append(Mistake("unknown", home, entry.written, text, entry.line, (_silenced(file, entry),)))
        return None
    there.add((home, name))  # one spelling at most is taken for it
    text = f"there is no key {entry.written}; did you mean {name}?"
    found.append(
        Mistake("misspelt", home, entry.written, text, entry.line, (changed(entry, entry.value, name),))
    )
    return KEYS[name]


def _silenced(file: File, entry: Entry) -> Edit:
    lines = file.lines[entry.line - 1 : entry.last]
    return Edit(entry.line, entry.last, tuple(_remark(line) for line in lines))


def _value(file: File, entry: Entry, key: Key, checked: Checked) -> None:
    if entry.last > entry.line and "\n" in entry.value:
        lines = tuple(line.strip() for line in file.lines[entry.line - 1 : entry.last])
        text = f"line {entry.line + 1} begins further right, so that it continues the value of this one"
        edits = (Edit(entry.line, entry.last, lines),)
        checked.mistakes.append(Mistake("line", key.section, entry.written, text, entry.line, edits))
        _continued(entry, checked)
        return
    try:
        checked.values[key.name] = parse(key, entry.value)
    except Wrong as wrong:
        edits = (changed(entry, wrong.meant, remark=wrong.remark),)
        checked.mistakes.append(
            Mistake(wrong.kind, key.section, entry.written, str(wrong), entry.line, edits)
        )


def _continued(entry: Entry, checked: Checked) -> None:
    """Keys swallowed by the one above them are there, if not where they should be."""
    for line in entry.values[1:]:
        name = line.partition("=")[0].strip().lower()
        if name in KEYS:
            checked.elsewhere.add(name)


def _missing(homes: dict[str, str], checked: Checked, sizes: Sizes | None) -> None:
    for section in SECTIONS:
        there = checked.where.keys() | checked.elsewhere
        absent = [key for key in keys_of(section) if key.required and key.name not in there]
        lines = tuple(f"{key.name} = {advice(key, sizes)}" for key in absent)
        if section not in homes.values():
            names = f"; it needs {', '.join(key.name for key in absent)}" if absent else ""
            text = f"the section [{section}] is missing{names}"
            checked.mistakes.append(
                Mistake("missing", section, "", text, None, (Edit(put=lines, section=section),))
            )
            continue
        for key, line in zip(absent, lines, strict=True):
            text = f"missing; for example {line}"
            edits = (Edit(put=(line,), section=section),)
            checked.mistakes.append(Mistake("missing", section, key.name, text, None, edits))


def advice(key: Key, sizes: Sizes | None) -> str:
    """A value for a key that is missing."""
    if sizes is not None and key.name in ("num_inputs", "num_outputs"):
        return str(sizes.inputs if key.name == "num_inputs" else sizes.outputs)
    if sizes is not None and key.name == "fitness_threshold" and sizes.threshold is not None:
        return f"{sizes.threshold:g}"
    return key.advice
