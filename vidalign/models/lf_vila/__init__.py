"""LF-VILA (arXiv 2210.06031)."""
