"""Settings of ViLA (`vila`), its plain stage (`vila_ori`), its LoRA variant (`vila_lora`). Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.common.errors import unknown
from vidalign.common.options import option
from vidalign.common.paths import missing, missing_model
from vidalign.models.vila.sizes import SIZES


@dataclass
class WeightsConfig:
    """Where the pretrained parts are. Each loads completely or not at all."""

    format: str = option(
        "files",
        "files: EVA's, LAVIS' and google's own; hf: one InstructBLIP or BLIP-2 folder of Hugging Face; random: none",
        choices=("files", "hf", "random"),
    )
    vision: str | None = option(None, "eva_vit_g.pth", path=True)
    t5: str | None = option(None, "folder or hub name of FLAN-T5, e.g. google/flan-t5-xl", path=True)
    start: str | None = option(
        None,
        "what the trained part starts from: instruct_blip_flanxl_trimmed.pth, a checkpoint of an earlier stage, or "
        "what `vidalign merge` wrote",
        path=True,
    )
    folder: str | None = option(None, "format hf: folder with config.json and model*.safetensors", path=True)
    t5_tokenizer: str | None = option(
        None, "tokenizer.json of FLAN-T5 or its folder; null: beside the weights", path=True
    )
    bert_tokenizer: str | None = option(
        None, "tokenizer.json or vocab.txt of bert-base-uncased, or its folder", path=True
    )

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values above: (key, sentence)."""
        wanted = {"files": ("vision", "t5", "start"), "hf": ("folder",), "random": ()}[self.format]
        return [
            (name, f"format {self.format} needs it. Give the file, or write format: random.")
            for name in wanted
            if getattr(self, name) is None
        ]

    def missing_files(self) -> list[tuple[str, str]]:
        """Files that are not where the config says: (key, sentence)."""
        found = []
        for name in ("vision", "start", "t5_tokenizer", "bert_tokenizer"):
            value = getattr(self, name)
            if value is not None and (text := missing(value)):
                found.append((name, f"{text} Give the path of the file."))
        for name in ("t5", "folder"):
            value = getattr(self, name)
            if value is not None and (text := missing_model(value)):
                found.append((name, f"{text} Give a Hugging Face folder or a hub name."))
        return found


@dataclass
class SelectorConfig:
    """How the Frame-Prompter chooses."""

    kind: str = option(
        "learned",
        "learned: the Frame-Prompter; random: a draw per segment in training, the middle frame at evaluation",
        choices=("learned", "random"),
    )
    gradient: str = option(
        "chosen",
        "chosen (official): only the chosen frame's gate hears of the loss; segment: every frame's gate does",
        choices=("chosen", "segment"),
    )
    at_evaluation: str = option(
        "argmax",
        "argmax: the largest logit, the same in every run; sample (official): a seeded draw from softmax(logits)",
        choices=("argmax", "sample"),
    )
    temperature: float | None = option(None, "of the Gumbel softmax in training; null: the official falling one", low=0)
    rate: float = option(1.0, "factor on run's learning rate for the Frame-Prompter", low=0.0)
    zero_bias: bool = option(
        False, "its pooling layer starts without bias, in which the small means over channels drown at first"
    )


@dataclass
class DistillConfig:
    """What the student imitates."""

    target: str = option(
        "decoded",
        "decoded: every teacher token, through a decoder of the student's; mean: the mean of the tokens; none",
        choices=("decoded", "mean", "none"),
    )
    weight: float = option(0.01, "of the mean squared distance; 0.5 with target mean, 0.001 with a trained teacher")
    teacher: str = option(
        "frozen",
        "frozen: no gradient; trained: with gradient and a cross-entropy of its own",
        choices=("frozen", "trained"),
    )
    teacher_qformer: str = option(
        "shared",
        "shared (official code): the teacher reads with the student's Q-Former; separate (paper): with its own, frozen",
        choices=("shared", "separate"),
    )
    rate: float = option(1.0, "factor on run's learning rate for the decoder", low=0.0)


@dataclass
class LoRAConfig:
    """Low-rank factors on T5's query and value layers."""

    rank: int = option(16, "rank", low=1)
    alpha: float = option(32.0, "scale = alpha / rank", low=0.0)
    dropout: float = option(0.05, "before the factors", low=0.0, high=1.0)


@dataclass
class StoreConfig:
    """The frozen ViT's outputs (before ln_vision, which trains) from the feature store instead of decoded frames."""

    use: str = option(
        "never",
        "never; evaluation: there frames are the same at every visit; always: training too, on the evaluation's frames "
        "and without random crops",
        choices=("never", "evaluation", "always"),
    )
    frames: int | None = option(None, "stored of every clip; null: num_frames", low=1)
    max_gib: float = option(2.0, "what may be written; more is an error that says how much it would be", low=0.0)


@dataclass
class TowerConfig:
    """What ViLA, its variants and SeViLA have in common."""

    arch: str = option("vila", "registry name")
    size: str = option("flant5xl", "a row of vidalign/models/vila/sizes.py", choices=tuple(SIZES))
    weights: WeightsConfig = option(WeightsConfig, "pretrained parts")
    num_frames: int = option(32, "frames that the ViT sees", low=1)
    store: StoreConfig = option(StoreConfig, "stored outputs of the ViT")
    clean_text: bool = option(False, "lower case and less punctuation in prompts; configured officially, never applied")
    max_txt_len: int = option(128, "longest prompt in tokens, cut on the left", low=8)
    dropout: float = option(0.1, "in Q-Former and T5 while training", low=0.0, high=1.0)
    restrict_options: bool = option(
        False, "only letters of options that exist compete; official: all of A to E always do"
    )
    repetition_penalty: float = option(1.5, "of tokens that were generated before", low=1.0)
    byte_overflow: str = option(
        "clamp", "overshoot of the training crop: clamp to 0..255, or wrap as officially", choices=("clamp", "wrap")
    )
    attention: str = option(
        "fast",
        "fast: fused kernels, folded frames; exact: the official loops and `generate`",
        choices=("fast", "exact"),
    )


@dataclass
class ViLAOriConfig(TowerConfig):
    """All given frames reach T5: the teacher's and the student's own training (stages one)."""

    arch: str = option("vila_ori", "registry name")
    num_frames: int = option(4, "frames; all of them reach T5", low=1)


@dataclass
class ViLAConfig(TowerConfig):
    """Frame-Prompter and QFormer-Distiller."""

    frames_kept: int = option(4, "frames that reach T5, one per segment", low=1)
    selector: SelectorConfig = option(SelectorConfig, "how they are chosen")
    distill: DistillConfig = option(DistillConfig, "what the student imitates")

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values above: (key, sentence)."""
        if self.size not in SIZES:
            return [("size", f"{unknown('size', self.size, SIZES)} Choose one of them.")]
        if self.num_frames % self.frames_kept:
            text = f"{self.num_frames} frames do not divide into {self.frames_kept} segments. Choose a divisor."
            return [("frames_kept", text)]
        return []


@dataclass
class ViLALoRAConfig(ViLAConfig):
    """ViLA that also tunes T5."""

    arch: str = option("vila_lora", "registry name")
    lora: LoRAConfig = option(LoRAConfig, "low-rank factors")


@dataclass
class SeViLAConfig(TowerConfig):
    """Localizer and answerer."""

    arch: str = option("sevila", "registry name")
    max_txt_len: int = option(120, "longest prompt in tokens, cut on the right", low=8)
    repetition_penalty: float = option(1.0, "of tokens that were generated before", low=1.0)
    frames_kept: int = option(4, "frames that reach the answerer", low=1)
    selection: str = option(
        "localizer", "who keeps frames: the localizer, or uniform", choices=("localizer", "uniform")
    )
    trains: str = option(
        "answerer",
        "answerer: on the frozen localizer's frames; localizer: on labels of the frozen answerer (self-refinement); "
        "localizer_pretraining: on windows (QVHighlights), without an answerer",
        choices=("answerer", "localizer", "localizer_pretraining"),
    )
