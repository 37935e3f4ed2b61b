"""Pictures of an evolution without the `dot` binary and without matplotlib: SVG, PNG, and plain text.

scene    shapes, and how they become SVG or pixels
layout   where the nodes of a network stand
graph    one network
charts   fitness and species over the generations
text     the same for a terminal
"""
