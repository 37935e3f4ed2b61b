"""Every number of the algorithm, with its source; names as neat-python has them where it has one."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlkit.config import key

ACTIVATIONS = (
    "tanh", "sigmoid", "relu", "identity", "sin", "gauss", "elu", "lelu", "selu", "softplus", "clamped",
    "inv", "log", "exp", "abs", "hat", "square", "cube",
)  # fmt: skip
AGGREGATIONS = ("sum", "product", "max", "min", "maxabs", "median", "mean")
INITIAL = (
    "full", "full_nodirect", "none", "one_input", "one_input_hidden", "partial", "partial_nodirect",
)  # fmt: skip
SPECIES_FITNESS = ("max", "mean", "median", "min")
RANDOM = "random"  # instead of an activation or aggregation: any of those to choose from


@dataclass
class Number:
    """How one real-valued attribute of a gene is drawn and perturbed."""

    init_mean: float = key(0.0, "mean of a new value")
    init_stdev: float = key(1.0, "its standard deviation", low=0.0)
    init_type: str = key("gaussian", "uniform: mean ± 2 stdev", choices=("gaussian", "uniform"))
    mutate_rate: float = key(0.9, "probability of a perturbation", low=0.0, high=1.0)
    mutate_power: float = key(0.5, "standard deviation of a perturbation", low=0.0)
    replace_rate: float = key(0.1, "probability of a new value instead", low=0.0, high=1.0)
    min_value: float = key(-30.0, "")
    max_value: float = key(30.0, "")


def _bias() -> Number:
    return Number()


def _response() -> Number:
    return Number(init_mean=1.0, init_stdev=0.0, mutate_rate=0.0, mutate_power=0.0, replace_rate=0.0)


@dataclass
class Settings:
    """The paper's values (section 4.1) where it gives them, neat-python's otherwise."""

    feed_forward: bool = key(True, "false allows cycles: a node then sees the values of the step before")
    initial_connection: str = key("full", "of inputs to outputs, in the first generation", choices=INITIAL)
    initial_fraction: float = key(0.5, "of the connections, for partial", low=0.0, high=1.0)
    initial_loops: bool = key(False, "recurrent networks begin with each node joined to itself, too")
    num_hidden: int = key(0, "hidden nodes of the first generation", low=0)
    # structure
    node_add_prob: float = key(0.03, "a connection is split by a node", low=0.0, high=1.0)
    node_delete_prob: float = key(0.0, "a hidden node goes with its connections", low=0.0, high=1.0)
    conn_add_prob: float = key(
        0.05, "two nodes are joined (0.3 in the paper's largest populations)", low=0.0, high=1.0
    )
    conn_delete_prob: float = key(0.0, "a connection goes", low=0.0, high=1.0)
    single_structural_mutation: bool = key(False, "of these four at most one happens to a child")
    structural_mutation_surer: bool = key(
        False, "where nothing can be added, a connection is added or enabled instead"
    )
    enabled_default: str = key("enabled", "new connections", choices=("enabled", "disabled", RANDOM))
    enabled_mutate_rate: float = key(0.01, "a connection is switched on or off at random", low=0.0, high=1.0)
    enabled_rate_to_true_add: float = key(0.0, "more, where it is off", low=0.0, high=1.0)
    enabled_rate_to_false_add: float = key(0.0, "more, where it is on", low=0.0, high=1.0)
    # values
    weights_mutate_prob: float = key(0.8, "a child's weights and biases change at all", low=0.0, high=1.0)
    weight: Number = field(default_factory=Number)
    bias: Number = field(default_factory=_bias)
    response: Number = field(default_factory=_response)
    activations: list[str] = key(["tanh"], "to choose from", choices=ACTIVATIONS)  # noqa: RUF009
    activation_default: str = key(
        RANDOM, "of a new node; random: any of them", choices=(RANDOM, *ACTIVATIONS)
    )
    activation_mutate_rate: float = key(0.0, "another activation is drawn", low=0.0, high=1.0)
    aggregations: list[str] = key(["sum"], "to choose from", choices=AGGREGATIONS)  # noqa: RUF009
    aggregation_default: str = key(
        RANDOM, "of a new node; random: any of them", choices=(RANDOM, *AGGREGATIONS)
    )
    aggregation_mutate_rate: float = key(0.0, "another aggregation is drawn", low=0.0, high=1.0)
    # species
    excess_coefficient: float = key(1.0, "c1 of the distance", low=0.0)
    disjoint_coefficient: float = key(1.0, "c2", low=0.0)
    weight_coefficient: float = key(0.4, "c3, of the mean weight difference", low=0.0)
    small_genome: int = key(20, "N is 1 in the distance of genomes with fewer connections", low=0)
    compatibility_threshold: float = key(3.0, "species are narrower than this", above=0.0)
    target_species: int = key(0, "the threshold follows this number of species; 0 keeps it", low=0)
    max_species: int = key(100, "genomes for which there is no room join the nearest; 0: no limit", low=0)
    species_fitness: str = key("max", "of its members', by which a species improves", choices=SPECIES_FITNESS)
    # reproduction
    crossover_prob: float = key(0.75, "offspring of two parents; the others of one", low=0.0, high=1.0)
    interspecies_prob: float = key(0.001, "the second parent is of another species", low=0.0, high=1.0)
    disable_prob: float = key(0.75, "a gene is disabled if it is in either parent", low=0.0, high=1.0)
    survival_threshold: float = key(0.2, "share of a species that may have offspring", above=0.0, high=1.0)
    min_species_size: int = key(1, "children that each species has at least", low=1)
    elitism: int = key(1, "champions of each species that live on unchanged", low=0)
    elitism_size: int = key(5, "in species of at least so many members", low=1)
    max_stagnation: int = key(15, "generations without improvement after which a species ends", low=1)
    species_elitism: int = key(2, "so many best species never end", low=0)
    reset_on_extinction: bool = key(
        True, "where all species end, a new population begins around the champion; false: the run ends"
    )
