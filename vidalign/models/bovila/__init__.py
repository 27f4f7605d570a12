"""BoViLA (arXiv 2410.02768) and its parent LLaMA-VQA / Flipped-VQA (arXiv 2310.15747). See README.md in this folder."""
