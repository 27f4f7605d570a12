"""Language models by name. A row is what Meta's params.json holds; `tiny` is ours, for tests and laptops.

Sources: params.json of the public releases (LLaMA: arXiv 2302.13971; Llama 2: 2307.09288; Llama 3: 2407.21783). Imports
nothing heavy.
"""

from __future__ import annotations

from typing import Any

_META = {"multiple_of": 256, "vocab_size": 32000}
_LLAMA3 = {"multiple_of": 1024, "vocab_size": 128256, "norm_eps": 1e-5, "rope_theta": 500000.0, "n_kv_heads": 8}

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 64, "n_layers": 2, "n_heads": 4, "multiple_of": 16, "vocab_size": 1024, "norm_eps": 1e-6},
    # Ours, for speed measurements on a CPU: large enough that the matrices, not Python, take the time.
    "mid": {"dim": 1024, "n_layers": 8, "n_heads": 16, "norm_eps": 1e-6, **_META},
    "llama_7b": {"dim": 4096, "n_layers": 32, "n_heads": 32, "norm_eps": 1e-6, **_META},
    "llama_13b": {"dim": 5120, "n_layers": 40, "n_heads": 40, "norm_eps": 1e-6, **_META},
    "llama_33b": {"dim": 6656, "n_layers": 60, "n_heads": 52, "norm_eps": 1e-6, **_META},
    "llama2_7b": {"dim": 4096, "n_layers": 32, "n_heads": 32, "norm_eps": 1e-5, **_META},
    "llama2_13b": {"dim": 5120, "n_layers": 40, "n_heads": 40, "norm_eps": 1e-5, **_META},
    "llama3_8b": {"dim": 4096, "n_layers": 32, "n_heads": 32, "ffn_dim_multiplier": 1.3, **_LLAMA3},
    # Whatever the folder holds, any Hugging Face causal LM included; nothing is compared.
    "from_file": {},
}
