"""Every key of neat-python's files: its section, type and range, and what happens where it is left out."""

from __future__ import annotations

from dataclasses import dataclass

from rlkit.neat.settings import ACTIVATIONS, AGGREGATIONS

SECTIONS = ("NEAT", "DefaultGenome", "DefaultSpeciesSet", "DefaultStagnation", "DefaultReproduction")
CONNECTIONS = (
    "unconnected", "fs_neat_nohidden", "fs_neat", "fs_neat_hidden", "full_nodirect", "full", "full_direct",
    "partial_nodirect", "partial", "partial_direct",
)  # fmt: skip
YES, NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")  # of configparser
ANY = ("random", "none")  # instead of a default: neat-python draws one
NUMBERS = ("bias", "response", "weight", "time_constant")  # attributes of genes


@dataclass(frozen=True)
class Key:
    """One key. Kinds: int, float, bool, text (one of `choices`), names (some of `choices`), connection."""

    section: str
    name: str
    kind: str
    advice: str  # what a corrected file says where the key is missing
    required: bool = True  # neat-python 2.0 refuses a file without it
    default: str = ""  # what it takes where an optional key is left out
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()


def _key(section: str, name: str, kind: str, advice: str, **more: object) -> Key:
    """An optional key's default is `advice` where nothing else is said."""
    if more.get("required") is False:
        more.setdefault("default", advice)
    return Key(section, name, kind, advice, **more)  # type: ignore[arg-type]


def _run() -> list[Key]:
    section = "NEAT"
    return [
        _key(section, "fitness_criterion", "text", "max", choices=("max", "min", "mean")),
        _key(section, "fitness_threshold", "float", "1000000"),
        _key(section, "pop_size", "int", "150", low=2),
        _key(section, "reset_on_extinction", "bool", "True"),
        _key(section, "no_fitness_termination", "bool", "False"),
        _key(section, "seed", "int", "0", required=False, default="", low=0, high=2**31 - 1),
    ]


def _number(name: str, mean: str, stdev: str, rates: tuple[str, str, str], ends: tuple[str, str],
            **more: object) -> list[Key]:  # fmt: skip
    """How one real-valued attribute is drawn and perturbed; rates: mutate rate, power, replace rate."""
    section = "DefaultGenome"
    return [
        _key(section, f"{name}_init_mean", "float", mean, **more),
        _key(section, f"{name}_init_stdev", "float", stdev, low=0.0, **more),
        _key(section, f"{name}_init_type", "text", "gaussian", required=False,
             choices=("gaussian", "normal", "uniform")),
        _key(section, f"{name}_max_value", "float", ends[1], **more),
        _key(section, f"{name}_min_value", "float", ends[0], **more),
        _key(section, f"{name}_mutate_power", "float", rates[1], low=0.0, **more),
        _key(section, f"{name}_mutate_rate", "float", rates[0], low=0.0, high=1.0, **more),
        _key(section, f"{name}_replace_rate", "float", rates[2], low=0.0, high=1.0, **more),
    ]  # fmt: skip


def _function(name: str, usual: str, names: tuple[str, ...]) -> list[Key]:
    section = "DefaultGenome"
    return [
        _key(section, f"{name}_default", "text", usual, required=False, default="random",
             choices=(*ANY, *names)),
        _key(section, f"{name}_mutate_rate", "float", "0.0", low=0.0, high=1.0),
        # neat-python reads a file without options, and fails when it draws one of none
        _key(section, f"{name}_options", "names", usual, choices=names),
    ]  # fmt: skip


def _genome() -> list[Key]:
    section = "DefaultGenome"
    chance = {"low": 0.0, "high": 1.0}
    return [
        _key(section, "num_inputs", "int", "1", low=1),
        _key(section, "num_hidden", "int", "0", low=0),
        _key(section, "num_outputs", "int", "1", low=1),
        _key(section, "feed_forward", "bool", "True"),
        _key(section, "initial_connection", "connection", "full_direct", required=False,
             default="unconnected", choices=CONNECTIONS),
        _key(section, "compatibility_disjoint_coefficient", "float", "1.0", low=0.0),
        _key(section, "compatibility_weight_coefficient", "float", "0.5", low=0.0),
        _key(section, "conn_add_prob", "float", "0.05", **chance),
        _key(section, "conn_delete_prob", "float", "0.0", **chance),
        _key(section, "node_add_prob", "float", "0.03", **chance),
        _key(section, "node_delete_prob", "float", "0.0", **chance),
        _key(section, "single_structural_mutation", "bool", "False", required=False),
        _key(section, "structural_mutation_surer", "text", "default", required=False,
             choices=("default", *YES, *NO)),
        *_function("activation", "tanh", ACTIVATIONS),
        *_function("aggregation", "sum", AGGREGATIONS),
        *_number("bias", "0.0", "1.0", ("0.7", "0.5", "0.1"), ("-30.0", "30.0")),
        *_number("response", "1.0", "0.0", ("0.0", "0.0", "0.0"), ("-30.0", "30.0")),
        *_number("time_constant", "1.0", "0.0", ("0.0", "0.0", "0.0"), ("0.01", "10.0"), required=False),
        *_number("weight", "0.0", "1.0", ("0.8", "0.5", "0.1"), ("-30.0", "30.0")),
        _key(section, "enabled_default", "text", "True", choices=(*YES, *NO, *ANY)),
        _key(section, "enabled_mutate_rate", "float", "0.01", **chance),
        _key(section, "enabled_rate_to_true_add", "float", "0.0", required=False, **chance),
        _key(section, "enabled_rate_to_false_add", "float", "0.0", required=False, **chance),
    ]  # fmt: skip


def _species() -> list[Key]:
    ends, begins = "DefaultStagnation", "DefaultReproduction"
    return [
        _key("DefaultSpeciesSet", "compatibility_threshold", "float", "3.0", above=0.0),
        _key(ends, "species_fitness_func", "text", "mean", required=False,
             choices=("max", "mean", "median", "median2", "min")),
        _key(ends, "max_stagnation", "int", "15", required=False, low=1),
        _key(ends, "species_elitism", "int", "2", required=False, default="0", low=0),
        _key(begins, "elitism", "int", "1", required=False, default="0", low=0),
        _key(begins, "survival_threshold", "float", "0.2", required=False, above=0.0, high=1.0),
        _key(begins, "min_species_size", "int", "1", required=False, low=1),
    ]  # fmt: skip


KEYS: dict[str, Key] = {key.name: key for key in [*_run(), *_genome(), *_species()]}


def keys_of(section: str) -> list[Key]:
    return [key for key in KEYS.values() if key.section == section]
