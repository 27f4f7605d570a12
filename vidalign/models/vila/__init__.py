"""ViLA (arXiv 2312.08367), its stages and its parent SeViLA (arXiv 2305.06988)."""
