"""Reference cases of Video-Panda (tests/reference.py). Adapters rename, cast, index and call; they compute nothing."""

from __future__ import annotations

from adapters import video_panda_models as models
from adapters import video_panda_text as text

KINDS = text.KINDS | {
    "stab_lsd_local_attention": models.run_lsd,
    "stab_fsra_global_attention": models.run_fsra,
    "stab_lste_local_mhra": models.run_lste,
    "stab_gstra_extractor": models.run_gstra,
    "stab_full": models.run_stab_full,
    "stab_real_size": models.run_real_size,
    "model_train_forward": models.run_train_forward,
    "model_splice": models.run_splice,
    "alignment_loss": models.run_alignment,
    "model_eval_generate": models.run_eval_generate,
}
