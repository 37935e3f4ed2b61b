"""Runs that are killed, continued, and then cannot be told from runs that never stopped."""
