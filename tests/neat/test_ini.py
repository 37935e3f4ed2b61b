"""Checking neat-python's files: every kind of mistake, and never another opinion than neat-python's own."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from ini_files import ARTICLE, CARTPOLE, WHOLE, found, line_of, theirs, with_value

from rlkit.neat.ini import checking, reading
from rlkit.neat.ini.conversion import complete
from rlkit.neat.ini.keys import KEYS, SECTIONS, keys_of
from rlkit.neat.ini.mistakes import Sizes
from rlkit.neat.ini.writing import corrected

library = pytest.importorskip("neat", reason="neat-python says what is right")


def test_a_whole_file_has_no_mistakes_and_neat_python_reads_it(tmp_path: Path) -> None:
    assert found(WHOLE) == []
    assert theirs(WHOLE, tmp_path / "whole") is None
    assert corrected(WHOLE) == WHOLE


def test_the_table_holds_every_key_that_neat_python_has(tmp_path: Path) -> None:
    """Names, required or not, and the values of keys left out, compared with the library's own lists."""
    path = tmp_path / "least"
    path.write_text(corrected(""), encoding="utf-8")
    config = library.Config(
        library.DefaultGenome, library.DefaultReproduction, library.DefaultSpeciesSet,
        library.DefaultStagnation, str(path),
    )  # fmt: skip
    parts = {
        "NEAT": config, "DefaultGenome": config.genome_config, "DefaultSpeciesSet": config.species_set_config,
        "DefaultStagnation": config.stagnation_config, "DefaultReproduction": config.reproduction_config,
    }  # fmt: skip
    ours = complete(checking.check(reading.read(corrected(""))))
    for section, part in parts.items():
        params = part._Config__params if section == "NEAT" else part._params
        assert {param.name for param in params} == {key.name for key in keys_of(section)}
        kinds = {"int": int, "float": float, "bool": bool, "names": list}
        for param in params:
            assert param.value_type is kinds.get(KEYS[param.name].kind, str), param.name
            if KEYS[param.name].required or param.name == "single_structural_mutation":
                continue  # the latter: they take the text 'false' for true, and a difference says so
            value = getattr(part, param.name)
            mine = ours[param.name]
            assert (mine[0] if isinstance(mine, tuple) else mine) == value, param.name


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_missed_where_neat_python_misses_it(name: str, tmp_path: Path) -> None:
    text = "".join(f"{line}\n" for line in WHOLE.splitlines() if line.split(" =")[0] != name)
    mistakes = found(text)
    error = theirs(text, tmp_path / "file")
    assert [(m.kind, m.key) for m in mistakes] == ([("missing", name)] if error else [])
    assert KEYS[name].required == bool(error)
    assert theirs(corrected(text), tmp_path / "corrected") is None


# ---------------------------------------------------------------------- one mistake of every kind

VALUES = [  # key, value, kind of mistake, what is said, the corrected lines
    ("fitness_threshold", "100000 #Example", "type", "on lines of their own only",
     "# Example\nfitness_threshold = 100000"),
    ("bias_init_type", "gaussian ; as usual", "type", "comment is part",
     "# as usual\nbias_init_type = gaussian"),
    ("pop_size", "many", "type", "'many' is not a whole number", "pop_size = 150"),
    ("pop_size", "150.0", "type", "not a whole number", "pop_size = 150"),
    ("bias_init_mean", "0,5", "type", "'0,5' is not a number", "bias_init_mean = 0"),
    ("conn_add_prob", "50%", "type", "for a reference", "conn_add_prob = 0.5"),
    ("elitism", "", "type", "no value", "elitism = 1"),
    ("feed_forward", "yes", "type", "neither True nor False", "feed_forward = True"),  # but not to [NEAT]
    ("reset_on_extinction", "maybe", "type", "neither True nor False", "reset_on_extinction = True"),
    ("seed", "lucky", "type", "not a whole number", "seed = 0"),
    ("activation_options", "tanh  relu", "type", "empty name", "activation_options = tanh relu"),
    ("activation_options", "tanh,relu", "range", "not known", "activation_options = tanh relu"),
    ("activation_options", "tanh sigmoit", "range", "'sigmoit' is not known",
     "activation_options = tanh sigmoid"),
    ("activation_options", "tanh tanh", "range", "names one twice", "activation_options = tanh"),
    ("fitness_criterion", "Max", "range", "'Max' is not known", "fitness_criterion = max"),
    ("species_fitness_func", "average", "range", "there are max, mean", "species_fitness_func = mean"),
    ("max_stagnation", "0", "range", "less than 1", "max_stagnation = 1"),
    ("compatibility_threshold", "0", "range", "not above 0", "compatibility_threshold = 3.0"),
    ("node_add_prob", "1.2", "range", "more than 1", "node_add_prob = 1.0"),
    ("fitness_threshold", "inf", "range", "no_fitness_termination = True", "fitness_threshold = 1000000"),
    ("enabled_default", "perhaps", "range", "not known", "enabled_default = True"),
    ("initial_connection", "partial_direct", "range", "share between 0 and 1",
     "initial_connection = partial_direct 0.5"),
    ("initial_connection", "partial 1.5", "range", "share between 0 and 1",
     "initial_connection = partial 1.0"),
    ("initial_connection", "full_direct 0.5", "range", "not known", "initial_connection = full_direct"),
    ("weight_min_value", "40", "contradiction", "40 is above weight_max_value = 30",
     "weight_max_value = 40.0\nweight_min_value = 30.0"),
    ("bias_init_mean", "31", "contradiction", "outside of bias_min_value", "bias_init_mean = 30.0"),
    ("weight_replace_rate", "0.5", "contradiction", "more than 1", "weight_replace_rate = 0.2"),
    ("activation_default", "relu", "contradiction", "relu is not among", "activation_options = relu tanh"),
    ("aggregation_mutate_rate", "0.1", "contradiction", "has no effect", "aggregation_mutate_rate = 0.0"),
    ("elitism", "150", "contradiction", "leaves no room", "elitism = 1"),
    ("min_species_size", "200", "contradiction", "more than pop_size = 150", "min_species_size = 1"),
    ("conn_add_prob", "0", "contradiction", "no genome will ever", "conn_add_prob = 0.05"),
    ("time_constant_mutate_rate", "0.1", "contradiction", "only recurrent",
     "time_constant_mutate_rate = 0.0"),
]  # fmt: skip

LINES = [  # what is replaced, by what, (kind, key, line) of the mistake, what is said, what it becomes
    ("conn_add_prob", "connection_add_prob", ("misspelt", "connection_add_prob", 16),
     "did you mean conn_add_prob?", "\nconn_add_prob = 0.05\n"),
    ("[DefaultStag", "speed = 3\n[DefaultStag", ("unknown", "speed", 66), "no key speed", "\n# speed = 3\n"),
    ("[DefaultSpec", "speed = 3\n[DefaultSpec", ("unknown", "speed", 64), "ignores it in silence",
     "\n# speed = 3\n"),
    ("num_inputs", "elitism = 0\nnum_inputs", ("misplaced", "elitism", 9), "belongs in [DefaultRepro",
     "\n# elitism = 0\n"),
    ("pop_size = 150", "pop_size = 150\nPop_Size = 15", ("duplicate", "Pop_Size", 5), "already, in line 4",
     "\n# Pop_Size = 15\n"),
    ("num_hidden", "[DefaultGenome]\nnum_hidden", ("duplicate", "", 10), "is there twice", ""),
    ("[DefaultGenome]", "[DefaultGenom]", ("misspelt", "", 8), "did you mean [DefaultGenome]?", ""),
    ("[DefaultGenome]", "[Mine]\na = 1\n[DefaultGenome]", ("section", "", 8), "no section [Mine]",
     "\n# [Mine]\n# a = 1\n"),
    ("[NEAT]", "[DEFAULT]\na = 1\n[NEAT]", ("section", "", 1), "into every section",
     "# [DEFAULT]\n# a = 1\n"),
    ("[DefaultSpeciesSet]\ncompatibility_threshold = 3.0\n", "", ("missing", "", None),
     "it needs compatibility_threshold", "\n[DefaultSpeciesSet]\ncompatibility_threshold = 3.0\n"),
    ("[NEAT]", "some words\n[NEAT]", ("line", "", 1), "above the first [section]", "# some words\n[NEAT]\n"),
    ("pop_size = 150", "pop_size 150", ("line", "pop_size", 4), "lacks the =", "\npop_size = 150\n"),
    ("pop_size", "here it comes\npop_size", ("line", "", 4), "neither a [section]", "\n# here it comes\n"),
    ("\npop_size", "\n   pop_size", ("line", "fitness_threshold", 3), "line 4 begins further right",
     "\npop_size = 150\n"),
    ("[NEAT]", "\ufeff[NEAT]", ("line", "", 1), "BOM", "[NEAT]\n"),
]  # fmt: skip

PASSED_OVER = {  # by neat-python, which reads these files, and sometimes fails at them later
    "bias_init_type=gaussian ; as usual", "seed=lucky", "activation_options=tanh  relu",
    "activation_options=tanh sigmoit", "activation_options=tanh tanh", "fitness_threshold=inf",
    "bias_init_mean=31", "weight_replace_rate=0.5", "aggregation_mutate_rate=0.1", "elitism=150",
    "min_species_size=200",
    "max_stagnation=0", "compatibility_threshold=0", "node_add_prob=1.2", "conn_add_prob=0",
    "time_constant_mutate_rate=0.1", "speed = 3\n[DefaultSpec", "elitism = 0\nnum_inputs",
    "[Mine]\na = 1\n[DefaultGenome]",
}  # fmt: skip


def judged(text: str, mistake: tuple[str, str, int | None], said: str, mended: str, folder: Path) -> bool:
    """Exactly this mistake is found, and mended; returns whether neat-python reads the file all the same."""
    mistakes = found(text)
    assert [(m.kind, m.key, m.line) for m in mistakes] == [mistake]
    assert said in mistakes[0].text
    result = corrected(text)
    assert mended in result
    assert found(result) == []
    assert theirs(result, folder / "corrected") is None
    return theirs(text, folder / "file") is None


@pytest.mark.parametrize(("key", "value", "kind", "said", "mended"), VALUES)
def test_a_wrong_value(key: str, value: str, kind: str, said: str, mended: str, tmp_path: Path) -> None:
    text = with_value(key, value)
    read = judged(text, (kind, key, line_of(key)), said, f"\n{mended}\n", tmp_path)
    assert read == (f"{key}={value}" in PASSED_OVER)


@pytest.mark.parametrize(("old", "new", "mistake", "said", "mended"), LINES)
def test_a_wrong_line(
    old: str, new: str, mistake: tuple[str, str, int | None], said: str, mended: str, tmp_path: Path
) -> None:
    assert WHOLE.count(old) == 1
    assert judged(WHOLE.replace(old, new), mistake, said, mended, tmp_path) == (new in PASSED_OVER)


def test_one_correction_does_not_undo_another() -> None:
    """A wrong value in a section that is moved, a wrong value under a wrong name."""
    text = WHOLE.replace("num_hidden = 0", "[DefaultGenome]\nnum_hidden = none")
    text = text.replace("conn_add_prob = 0.05", "connection_add_prob = 7 # often")
    assert [m.kind for m in found(text)] == ["duplicate", "type", "misspelt", "type"]
    result = corrected(text)
    lines = sorted(line for line in result.splitlines() if "num_hidden" in line or "add_prob" in line)
    assert lines == ["conn_add_prob = 1.0", "node_add_prob = 0.03", "num_hidden = 0"]
    assert result.count("# often") == 1
    assert result.count("[DefaultGenome]") == 1


def test_mistakes_that_need_two_values(tmp_path: Path) -> None:
    text = with_value("num_hidden", "2", with_value("initial_connection", "full"))
    place = ("contradiction", "initial_connection", line_of("initial_connection"))
    assert judged(text, place, "ambiguous", "\ninitial_connection = full_nodirect\n", tmp_path)
    moved = WHOLE.replace("elitism = 0\nsurvival", "survival").replace(
        "num_inputs", "elitism = 3\nnum_inputs"
    )
    assert judged(moved, ("misplaced", "elitism", 9), "belongs in", "\nelitism = 3\n", tmp_path)
    above = "pop_size = 7\n" + WHOLE.replace("pop_size = 150\n", "")
    assert not judged(above, ("line", "pop_size", 1), "above the first", "\npop_size = 7\n", tmp_path)


def test_a_file_that_neat_python_refuses_has_mistakes(tmp_path: Path) -> None:
    """Files changed at random: wherever neat-python fails, a mistake is found, and the correction is read."""
    draws, words = (
        random.Random(5),
        ["-1", "0", "2", "1.5", "1e3", "nan", "tanh  relu", "None", "%%", "", "1 # x"],
    )
    refused = 0
    for number in range(250):
        lines = WHOLE.splitlines()
        for _ in range(draws.choice([1, 1, 2, 5])):
            place = draws.choice([n for n, line in enumerate(lines) if "=" in line])
            name, _, value = lines[place].partition(" =")
            what = draws.randrange(7)
            cut = draws.randrange(len(name)) if name else 0
            lines[place : place + 1] = [
                [f"{name} = {draws.choice(words)}"], [f"{name} = {draws.choice(words)}"], [],
                [lines[place], lines[place]], [f"{name[:cut]}{name[cut + 1 :]} = {value}"],
                ["  " + lines[place]], [f"{name} {value}"],
            ][what]  # fmt: skip
        text = "\n".join(lines) + "\n"
        mistakes, result = found(text), corrected(text)
        error = theirs(text, tmp_path / "file")
        refused += error is not None
        assert mistakes or error is None, (number, error)
        assert found(result) == []
        assert theirs(result, tmp_path / "corrected") is None, number
    assert refused > 100


def test_remarks_order_and_layout_stay() -> None:
    text = WHOLE.replace("[DefaultGenome]", "\n; my genomes\n[DefaultGenome]\n# sizes\n")
    text = text.replace("pop_size = 150", "pop_size   :  1.5")
    lines, changed = text.splitlines(), corrected(text).splitlines()
    assert [(a, b) for a, b in zip(lines, changed, strict=True) if a != b] == [
        ("pop_size   :  1.5", "pop_size = 2")
    ]


def test_an_empty_file_is_told_section_by_section() -> None:
    assert [(m.kind, m.section) for m in found("")] == [("missing", section) for section in SECTIONS]
    assert "pop_size" in found("")[0].text


# ---------------------------------------------------------------------- the article's file


def test_the_article() -> None:
    """Its mistakes, by hand: a remark, two misspelt keys, and 33 required keys that are not there."""
    numbers = [
        f"{gene}_{what}"
        for gene in ("bias", "response", "weight")
        for what in (
            "init_mean",
            "init_stdev",
            "max_value",
            "min_value",
            "mutate_power",
            "mutate_rate",
            "replace_rate",
        )
    ]
    missing = [
        "fitness_criterion", "no_fitness_termination", "feed_forward", "compatibility_disjoint_coefficient",
        "compatibility_weight_coefficient", "activation_mutate_rate", "activation_options",
        "aggregation_mutate_rate", "aggregation_options", *numbers, "enabled_default", "enabled_mutate_rate",
        "compatibility_threshold",
    ]  # fmt: skip
    assert len(missing) == 33
    mistakes = found(ARTICLE.read_text(encoding="utf-8"), CARTPOLE)
    assert [(m.kind, m.key, m.line) for m in mistakes if m.line] == [
        ("type", "fitness_threshold", 2),
        ("misspelt", "connection_add_prob", 10),
        ("misspelt", "connection_delete_prob", 11),
    ]
    assert sorted(m.key for m in mistakes if m.kind == "missing") == sorted(missing)
    assert len(mistakes) == 36


def test_the_article_on_another_environment() -> None:
    sizes = Sizes("LunarLander-v3", 8, 4, 200.0)
    text = ARTICLE.read_text(encoding="utf-8")
    assert [(m.key, m.line) for m in found(text, sizes) if m.kind == "size"] == [
        ("num_inputs", 7), ("num_outputs", 8),
    ]  # fmt: skip
    assert "num_inputs = 8\nnum_outputs = 4\n" in corrected(text, sizes)
    smaller = found(text, Sizes("Small-v0", 3, 1))
    assert [m.key for m in smaller if m.kind == "size"] == ["num_inputs", "num_outputs"]
    assert "4 does not fit LunarLander-v3, which has 8 numbers" in found(text, sizes)[1].text
