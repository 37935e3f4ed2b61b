"""A file's values as keys of a run, and, in one line each, what is not here what it is in neat-python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlkit.neat.ini.keys import KEYS
from rlkit.neat.ini.mistakes import Checked, Sizes
from rlkit.neat.ini.values import parse

_INITIAL = {
    "unconnected": "none", "fs_neat": "one_input", "fs_neat_nohidden": "one_input",
    "fs_neat_hidden": "one_input_hidden", "full": "full_nodirect", "full_nodirect": "full_nodirect",
    "full_direct": "full", "partial": "partial_nodirect", "partial_nodirect": "partial_nodirect",
    "partial_direct": "partial",
}  # fmt: skip
_SAME = (
    "feed_forward", "num_hidden", "conn_add_prob", "conn_delete_prob", "node_add_prob", "node_delete_prob",
    "single_structural_mutation", "enabled_mutate_rate", "enabled_rate_to_true_add",
    "enabled_rate_to_false_add", "activation_default", "activation_mutate_rate", "aggregation_default",
    "aggregation_mutate_rate", "compatibility_threshold", "max_stagnation", "species_elitism", "elitism",
    "survival_threshold", "min_species_size", "reset_on_extinction",
)  # fmt: skip
_FIXED = {  # what neat-python does where rlkit leaves a choice
    "weights_mutate_prob": 1.0,  # every child's genes meet their own rates
    "small_genome": 0,  # distances are divided by the genome's size always
    "target_species": 0,
    "max_species": 0,
    "crossover_prob": 1.0,
    "interspecies_prob": 0.0,
    "disable_prob": 0.75,
    "elitism_size": 1,  # a champion of every species lives on
}
_NUMBER = ("init_mean", "init_stdev", "init_type", "mutate_rate", "mutate_power", "replace_rate",
           "min_value", "max_value")  # fmt: skip


@dataclass(frozen=True)
class Difference:
    key: str  # of the file
    text: str


def complete(checked: Checked) -> dict[str, Any]:
    """All keys: the file's values, and neat-python's own where one is left out."""
    left_out = {name: key.default for name, key in KEYS.items() if name not in checked.values}
    defaults = {name: parse(KEYS[name], text) if text else None for name, text in left_out.items()}
    return checked.values | defaults


def converted(checked: Checked) -> dict[str, Any]:
    """Dotted keys of a run → values. Of a file without mistakes."""
    values = complete(checked)
    kind, fraction = values["initial_connection"]
    surer, single = values["structural_mutation_surer"], values["single_structural_mutation"]
    evolution: dict[str, Any] = {name: values[name] for name in _SAME} | _FIXED
    evolution |= {
        "initial_connection": _INITIAL[kind],
        "initial_fraction": fraction,
        "initial_loops": not values["feed_forward"] and kind.startswith(("full", "partial")),
        "structural_mutation_surer": single if surer == "default" else surer == "true",
        "enabled_default": {"true": "enabled", "false": "disabled"}.get(values["enabled_default"], "random"),
        "activations": values["activation_options"],
        "aggregations": values["aggregation_options"],
        "excess_coefficient": values["compatibility_disjoint_coefficient"],
        "disjoint_coefficient": values["compatibility_disjoint_coefficient"],
        "weight_coefficient": values["compatibility_weight_coefficient"],
        "species_fitness": values["species_fitness_func"].replace("median2", "median"),
    }
    for name in ("weight", "bias", "response"):
        evolution |= {f"{name}.{part}": values[f"{name}_{part}"] for part in _NUMBER}
    endless = values["no_fitness_termination"]
    found = {"agent.population": values["pop_size"], "agent.fitness_criterion": values["fitness_criterion"]}
    found |= {f"agent.evolution.{name}": value for name, value in evolution.items()}
    found["trainer.stop_at_return"] = None if endless else values["fitness_threshold"]
    if endless:
        found["trainer.check_episodes"] = 0  # else the environment's own boundary would end the run
    if values["seed"] is not None:
        found["seed"] = values["seed"]
    return found


def differences(checked: Checked, sizes: Sizes | None = None) -> list[Difference]:
    """What of a file without mistakes is not used here, or is used otherwise than in neat-python."""
    values = complete(checked)
    found: list[Difference] = []

    def tell(key: str, text: str) -> None:
        found.append(Difference(key, text))

    fits = f" ({sizes.inputs} and {sizes.outputs} for {sizes.env})" if sizes else ""
    tell("num_inputs, num_outputs", f"not used: derived from the environment{fits}")
    _ending(values, sizes, tell)
    tell("compatibility_…", "the distance is the paper's: connection genes alone, weights by their mean "
         "difference; neat-python counts node genes, too")  # fmt: skip
    if values["conn_add_prob"] or values["node_add_prob"]:
        tell("conn_add_prob, node_add_prob", "drawn among what can be added; neat-python gives up where its "
             "draw does not fit, so that networks grow faster here")  # fmt: skip
    if values["num_hidden"]:
        tell("num_hidden", "all genomes begin with the same hidden nodes; neat-python numbers them genome by "
             "genome, so that none match")  # fmt: skip
    if "single_structural_mutation" not in checked.values:
        tell("single_structural_mutation", "left out: False, as documented; neat-python 2.0 takes the text "
             "'false' for true")  # fmt: skip
    if values["species_fitness_func"] == "median":
        tell("species_fitness_func", "of two middle values the mean, as median2; neat-python takes the upper")
    if given := [name for name in checked.values if name.startswith("time_constant_")]:
        tell(", ".join(given), "not used: rlkit has no continuous-time networks")
    if values["reset_on_extinction"]:
        tell("reset_on_extinction", "the new population keeps the champion; neat-python's does not")
    return found


def _ending(values: dict[str, Any], sizes: Sizes | None, tell: Any) -> None:
    """When a run ends."""
    goal, endless = values["fitness_threshold"], values["no_fitness_termination"]
    if endless:
        tell("fitness_threshold, fitness_criterion", "not used, as no_fitness_termination = True")
        return
    above = ""
    if sizes is not None and sizes.threshold is not None and goal > sizes.threshold:
        above = f"; {sizes.env} counts {sizes.threshold:g} as solved"
    tell("fitness_threshold", f"trainer.stop_at_return={goal:g}: the champion's mean return over fresh "
         f"episodes, not over those of training{above}")  # fmt: skip
    if values["fitness_criterion"] != "max":
        tell("fitness_criterion", f"the champion plays those episodes when the {values['fitness_criterion']} "
             "of the population's fitness has reached the threshold; neat-python stops there")  # fmt: skip
