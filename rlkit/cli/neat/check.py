"""`rlkit neat check`: every mistake of a neat-python configuration file, and the file without them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rlkit.cli.composing import compose
from rlkit.cli.neat.files import count, sizes_of, table, told
from rlkit.cli.options import parse, print_json
from rlkit.config import key
from rlkit.errors import UserError
from rlkit.files import replace_file
from rlkit.neat.ini import checking, reading
from rlkit.neat.ini.conversion import differences
from rlkit.neat.ini.mistakes import Checked, Sizes
from rlkit.neat.ini.reading import File
from rlkit.neat.ini.writing import corrected

ENV = ("env", "wrappers", "experiment")  # words of a run that say what an environment asks
HELP = ("net", "plugins")  # words that help to ask it


@dataclass
class CheckOptions:
    file: str | None = key(None, "the file, like config-feedforward.txt")
    out: str | None = key(None, "where the corrected file goes; null: it is printed")
    json: bool = key(False, "print JSON")


def run(arguments: Sequence[str]) -> int:
    """0 where the file has no mistakes, else 2."""
    heads = {word: re.split(r"[=.@]", word.lstrip("+~"))[0] for word in arguments}
    words = [word for word in arguments if heads[word] in (*ENV, *HELP)]
    mine = [word for word in arguments if word not in words]
    options = parse(mine, CheckOptions, "neat check", names=("file",))
    if options is None:
        print(f"  {'env=NAME …':22} as for rlkit train: the environment that the sizes must fit")
        return 0
    if options.file is None:
        raise UserError("name the file: rlkit neat check config-feedforward.txt env=NAME.")
    file = reading.load(options.file)
    known = any(heads[word] in ENV for word in words)
    sizes = sizes_of(compose(["agent=neat", *words])) if known else None
    checked = checking.check(file, sizes)
    mended = corrected("\n".join(file.lines) + "\n", sizes)
    other = differences(checking.check(reading.read(mended), sizes), sizes)
    if options.out is not None:
        _write(Path(options.out).expanduser(), mended)
    if options.json:
        print_json({
            "file": options.file,
            "env": asdict(sizes) if sizes else None,
            "mistakes": [
                {"line": m.line, "section": m.section, "key": m.key, "kind": m.kind, "mistake": m.text}
                for m in checked.mistakes
            ],
            "differences": [asdict(one) for one in other],
            "corrected": mended,
        })  # fmt: skip
        return 2 if checked.mistakes else 0
    _tell(file, checked, sizes)
    print(f"\nin rlkit, otherwise than in neat-python:\n{told(other)}")
    if options.out is not None:
        print(f"\nthe file without mistakes is {options.out}")
    elif checked.mistakes:
        print(f"\nthe file without them, which neat-python 2.0 reads as well:\n\n{mended}", end="")
    return 2 if checked.mistakes else 0


def _tell(file: File, checked: Checked, sizes: Sizes | None) -> None:
    fits = f"for {sizes.env}" if sizes else "sizes not checked (add env=NAME)"
    if not checked.mistakes:
        print(f"{file.path}: no mistakes, {fits}")
        return
    print(f"{file.path}: {count(checked.mistakes)}, {fits}\n\n{table(checked.mistakes)}")


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode(), sync=False)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
