"""Settings of Video-Panda. Imports nothing heavy: config errors must be told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vidalign.common.errors import unknown
from vidalign.common.options import option
from vidalign.common.paths import missing, missing_model

STAGES = ("prealign", "pretrain", "finetune", "evaluate")
STAB_PARTS = ("lste", "gstra", "fsra", "row_tokens", "lsd")

# lm: a row of backbones/llm_sizes.py. side, patch_px: of the teacher's square; the student's has twice as many patches.
# `mid` is ours, for speed measurements on a CPU; `tiny` for tests and laptops.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"lm": "tiny", "dim": 64, "gstra_heads": 4, "side": 8, "patch_px": 4, "teacher": "tiny", "every": 1},
    # The drawn benchmark: 64 pixels, 4 x 4 patches, 2 x 2 tokens and a row's end for each of the two rows.
    "shapes": {"lm": "tiny", "dim": 64, "gstra_heads": 4, "side": 2, "patch_px": 16, "teacher": "tiny", "every": 1},
    "mid": {"lm": "mid", "dim": 1024, "gstra_heads": 8, "side": 16, "patch_px": 14, "teacher": "large", "every": 1},
    "7b": {
        "lm": "llama2_7b",
        "dim": 1024,
        "gstra_heads": 8,
        "side": 16,
        "patch_px": 14,
        "teacher": "large",
        "every": 4,
    },
}


@dataclass
class LearningRates:
    """Factors on the run's learning rate, by part (`vision_tower_lr`, `mm_projector_lr` of the official command)."""

    tower: float = option(1.0, "STAB and the alignment head", low=0.0)
    projector: float = option(1.0, "the projector", low=0.0)


@dataclass
class VideoPandaConfig:
    """Video-Panda (arXiv 2412.18609): video tokens without a vision encoder."""

    arch: str = option("video_panda", "registry name")
    size: str = option("7b", "7b: the published one; mid, tiny: ours", choices=tuple(SIZES))
    weights: str | None = option(
        None,
        "folder to start from: EVE-7B-Pretrain-v1.0, the output of a stage, or a plain LLaMA folder; null: random",
        path=True,
    )
    tokenizer: str | None = option(
        None, "tokenizer.model; null: the one in `weights`, the tiny one without weights", path=True
    )
    legacy_tokens: str = option(
        "auto",
        "the tokenizer's flag `legacy`; auto: as in the folder's tokenizer_config.json",
        choices=("auto", "true", "false"),
    )
    teacher: str | None = option(
        None,
        "folder of LanguageBind_Video_merge; null with alignment 0, or a random teacher with random weights",
        path=True,
    )
    stage: str = option(
        "finetune",
        "prealign trains the visual part alone, pretrain and finetune everything; evaluate builds no teacher",
        choices=STAGES,
    )
    num_frames: int = option(8, "frames per video, a multiple of 4; fewer are padded with empty frames", low=4)
    max_length: int = option(4096, "longest conversation in ids, before pictures take their places", low=16)
    max_new_tokens: int = option(1024, "longest answer in tokens", low=1)
    attention: str = option(
        "fast", "fast: fused kernels and batches; exact: the official order of operations", choices=("fast", "exact")
    )
    dtype: str = option("bfloat16", "type of frozen weights", choices=("float16", "bfloat16", "float32"))
    stab: list[str] = option(list(STAB_PARTS), "parts of STAB in use (ablations: leave some out)")
    alignment: float = option(1.0, "weight of the alignment to the teacher; 0 builds no teacher", low=0.0)
    flip: float = option(0.5, "how often a training clip is mirrored", low=0.0, high=1.0)
    sync_flip: bool = option(False, "mirror the teacher's frames together with the student's (official: independently)")
    eval_flip: bool = option(False, "mirror half of the clips at evaluation too, as the official code does")
    learning_rates: LearningRates = option(LearningRates, "factors on the learning rate")

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values: (key, sentence)."""
        found = []
        if self.num_frames % 4 or (self.num_frames > 8 and self.num_frames % 8):
            text = f"{self.num_frames} frames make no chunks of 4 in groups of at most 8. Write 4, 8, 16, 24, ..."
            found.append(("num_frames", text))
        for name in self.stab:
            if name not in STAB_PARTS:
                found.append(("stab", f"{unknown('part of STAB', name, STAB_PARTS)} Choose among them."))
        if self.needs_teacher and self.teacher is None and self.weights is not None:
            text = "the alignment needs the teacher. Give the folder of LanguageBind_Video_merge, or alignment: 0."
            found.append(("teacher", text))
        return found

    def missing_files(self) -> list[tuple[str, str]]:
        """Files and folders that are not where the config says: (key, sentence)."""
        found = []
        for name in ("weights", "teacher"):
            value = getattr(self, name)
            if value is not None and (text := missing_model(value)):
                found.append((name, f"{text} Give the folder."))
        if self.tokenizer is not None and (text := missing(self.tokenizer)):
            found.append(("tokenizer", f"{text} Give the path of tokenizer.model."))
        return found

    @property
    def needs_teacher(self) -> bool:
        """Whether this run aligns anything."""
        return self.alignment > 0 and self.stage != "evaluate"
