"""Environments: how they are made (`factory`), wrapped (`wrappers`), and driven in lanes (`vector`)."""
