"""Reference cases of LF-VILA as calls of the package: one function per kind, `case -> {name: value}`.

Adapters rename, cast, index and call; tests/test_adapters_compute_nothing.py holds that line.
"""

from __future__ import annotations

from adapters import lf_vila_inputs, lf_vila_models, lf_vila_parts

KINDS = {
    "basic_layer": lf_vila_parts.run_basic_layer,
    "cross_modal": lf_vila_parts.run_cross_modal,
    "distributed_gather": lf_vila_models.run_distributed_gather,
    "frame_sampling": lf_vila_inputs.run_frame_sampling,
    "htwa": lf_vila_parts.run_htwa,
    "image_transforms": lf_vila_inputs.run_image_transforms,
    "losses": lf_vila_models.run_losses,
    "lr_schedules": lf_vila_inputs.run_lr_schedules,
    "optimizer_groups": lf_vila_inputs.run_optimizer_groups,
    "pretrain_stage1": lf_vila_models.run_pretrain,
    "pretrain_stage2": lf_vila_models.run_pretrain,
    "qa_classification": lf_vila_models.run_qa_classification,
    "qa_multichoice": lf_vila_models.run_qa_multichoice,
    "retrieval": lf_vila_models.run_retrieval,
    "retrieval_metrics": lf_vila_inputs.run_retrieval_metrics,
    "text_encoder": lf_vila_parts.run_text_encoder,
    "text_inputs": lf_vila_inputs.run_text_inputs,
    "video_classification": lf_vila_models.run_video_classification,
    "weights_change_window": lf_vila_inputs.run_change_window,
    "weights_stage1_to_stage2": lf_vila_inputs.run_stage1_to_stage2,
    "weights_swin_inflation": lf_vila_inputs.run_swin_inflation,
    "window_attention": lf_vila_parts.run_window_attention,
}
