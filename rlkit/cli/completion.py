"""Shell completion: verbs and envs by ourselves, the keys of train by Hydra, which must not see the verb.

`eval "$(rlkit -sc install=bash)"` installs it. The shell then calls `rlkit -sc query=bash` with the
whole line in COMP_LINE and the cursor in COMP_POINT.
"""

from __future__ import annotations

import os
from collections.abc import Sequence


def complete(arguments: Sequence[str]) -> int:
    from rlkit.cli import VERBS
    from rlkit.cli.train import hydra_app

    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if not any(word.startswith("query=") for word in arguments):
        hydra_app(list(arguments))
    elif len(words) > 2 or (len(words) == 2 and line.endswith(" ")):
        if words[1] == "train":
            cut_verb(line, words[1])
            hydra_app(list(arguments))
        elif words[1] == "envs":
            from rlkit.cli.envs import completions

            print(" ".join(completions(words[2:], "" if line.endswith(" ") else words[-1])))
    else:
        start = words[1] if len(words) == 2 else ""
        print(" ".join(verb for verb in VERBS if verb.startswith(start)))
    return 0


def cut_verb(line: str, verb: str) -> None:
    """Take the verb out of COMP_LINE and move COMP_POINT back by as much."""
    start = line.index(verb, len(line.split()[0]))
    rest = line[start + len(verb) :]
    gap = len(rest) - len(rest.lstrip())
    os.environ["COMP_LINE"] = line[:start] + rest.lstrip()
    point = int(os.environ.get("COMP_POINT") or len(line))
    os.environ["COMP_POINT"] = str(max(start, point - len(verb) - gap))
