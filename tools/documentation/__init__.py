"""Generators for the generated parts of the documentation; used by `tools.docs`."""
