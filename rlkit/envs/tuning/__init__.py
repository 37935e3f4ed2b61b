"""Parameter tuning: an agent chooses hyperparameters from epoch to epoch while a small classifier trains."""
