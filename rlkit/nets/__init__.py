"""Networks: encoders chosen by the observation space, blocks, heads, running normalisation."""
