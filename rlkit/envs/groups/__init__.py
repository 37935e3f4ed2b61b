"""One file per group of environments; `rlkit.envs.catalog` says what a group must tell."""
