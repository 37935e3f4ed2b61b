"""YAML of this plugin: `hydra.searchpath=[pkg://rlkit_example.conf]` adds it to the choices."""
