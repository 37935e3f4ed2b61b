"""A genome for others: plain PyTorch, ONNX, and neat-python's JSON and objects.

module    the policy as an nn.Module that knows torch alone
portable  a genome, and how its environment is read and acted upon, as plain data
source    that policy as one Python file
onnx      that policy as an ONNX graph
peer      genomes as neat-python has them
bundle    what a run's agent has to give
"""
