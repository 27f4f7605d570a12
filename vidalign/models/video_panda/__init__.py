"""Video-Panda (arXiv 2412.18609)."""
