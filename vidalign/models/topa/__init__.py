"""TOPA (arXiv 2405.13911)."""
