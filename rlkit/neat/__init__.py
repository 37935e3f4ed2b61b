"""NEAT: neuroevolution of augmenting topologies, a whole population as padded tensors.

Stanley, K. O. & Miikkulainen, R. (2002), Evolving neural networks through augmenting topologies,
Evolutionary Computation 10(2), 99–127: "the paper" in this room. Shapes: P genomes, M node slots,
C connection slots, I inputs, O outputs.

    settings      every number of the algorithm, with its source
    genes         P genomes as tensors
    innovation    historical markings: the same structural mutation of one generation, one number
    crossover     genes aligned by innovation
    mutation      weights, biases, new nodes, new connections
    species       compatibility distance, speciation, stagnation
    reproduction  fitness sharing, offspring, the next generation
    network       genomes → batched networks
    history       what every finished generation was like
    naming        what inputs and outputs are called
    story         champions, species and fitness of an evolution, for drawing
    ini           neat-python's configuration files: checked, corrected, converted
"""
