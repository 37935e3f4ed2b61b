"""neat-python's files for tests: a whole one, changes of it, and what neat-python says of them."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import pytest

from rlkit.neat.ini import checking, reading
from rlkit.neat.ini.keys import SECTIONS, keys_of
from rlkit.neat.ini.mistakes import Mistake, Sizes

ARTICLE = Path(__file__).parent / "data" / "article-config.txt"
CARTPOLE = Sizes("CartPole-v1", 4, 2, 475.0)

WHOLE = "".join(  # every key of every section, the optional ones included
    f"[{section}]\n" + "".join(f"{key.name} = {key.default or key.advice}\n" for key in keys_of(section))
    for section in SECTIONS
)
WHOLE = WHOLE.replace("activation_default = random", "activation_default = tanh")
WHOLE = WHOLE.replace("aggregation_default = random", "aggregation_default = sum")


def found(text: str, sizes: Sizes | None = None) -> list[Mistake]:
    return checking.check(reading.read(text), sizes).mistakes


def with_value(name: str, value: str, text: str = WHOLE) -> str:
    """The file with another value of a key."""
    lines = [f"{name} = {value}" if line.split(" =")[0] == name else line for line in text.splitlines()]
    assert f"{name} = {value}" in lines
    return "\n".join(lines) + "\n"


def line_of(name: str, text: str = WHOLE) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.split(" =")[0] == name)


def theirs(text: str, path: Path) -> Exception | None:
    """What neat-python says of a file when a population and its networks are made by it; None for nothing."""
    library = pytest.importorskip("neat", reason="neat-python says what is right")
    path.write_text(text, encoding="utf-8")
    said = io.StringIO()  # its warnings
    state = random.getstate()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            config = library.Config(
                library.DefaultGenome, library.DefaultReproduction, library.DefaultSpeciesSet,
                library.DefaultStagnation, str(path),
            )  # fmt: skip
            config.pop_size = min(config.pop_size, 4)
            kinds = library.nn.RecurrentNetwork, library.nn.FeedForwardNetwork
            for genome in library.Population(config).population.values():
                kinds[config.genome_config.feed_forward].create(genome, config)
        except Exception as error:
            return error
        finally:
            random.setstate(state)
    return None
