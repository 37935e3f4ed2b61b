"""One file per algorithm; names are resolved in `rlkit.registry.agents`."""
