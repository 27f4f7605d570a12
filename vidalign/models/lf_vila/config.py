"""Settings of LF-VILA's models. Imports nothing heavy: config errors must be told at once."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.common.options import option
from vidalign.common.paths import missing
from vidalign.models.lf_vila.sizes import SIZES


@dataclass
class StartWeights:
    """What a run starts from; later files win. run.checkpoint loads a complete checkpoint of the same model instead."""

    swin: str | None = option(None, "2D Swin file, inflated into the video encoder (stage-one pre-training)", path=True)
    bert: str | None = option(None, "BERT file, into the text encoder", path=True)
    pretrained: str | None = option(
        None, "stage-one or stage-two file of LF-VILA; heads that it lacks keep their random start", path=True
    )

    partly: bool = option(
        False,
        "load what fits of `pretrained` and tell the rest in the log, as officially; false: all of it or an error",
    )

    def missing_files(self) -> list[tuple[str, str]]:
        """Files that are not where the config says: (key, sentence)."""
        named = {name: getattr(self, name) for name in ("swin", "bert", "pretrained")}
        told = {name: missing(path) for name, path in named.items() if path is not None}
        return [(name, f"{text} Give the file, or null.") for name, text in told.items() if text]


@dataclass
class LFVilaConfig:
    """What all models of LF-VILA share (arXiv 2210.06031)."""

    size: str = option("base", "sizes of both encoders", choices=tuple(SIZES))
    num_frames: int | None = option(None, "frames per video; null: as published (32), tiny 8", low=1)
    image_hw: list[int] | None = option(None, "height and width in pixels; null: as published ([192, 320])")
    temporal_windows: list[int] | None = option(
        None, "frames of a window, per stage; null: as published. Bias tables of start.pretrained are resized in time"
    )
    clips: int = option(4, "clips of a video and sentences of a paragraph", low=1)
    max_tokens: int = option(50, "tokens per sentence, [CLS] and [SEP] included", low=3)
    segments: int = option(8, "rows of the table of sentence numbers", low=1)
    drop_path: float = option(0.2, "stochastic depth of the video encoder's last block", low=0.0, high=0.99)
    dropout: float = option(0.1, "dropout in the text and cross-modal layers", low=0.0, high=0.99)
    mask_rule: str = option(
        "uniform",
        "sentences of nothing but padding: uniform attention (as the fp16 weights were trained) or -10000",
        choices=("uniform", "minus_10000"),
    )
    train_pooler: bool = option(False, "also train the pooler; the official optimizer leaves it out")
    tokenizer: str | None = option(
        None, "vocab.txt of bert-base-uncased; null: only for size tiny, a small one", path=True
    )
    start: StartWeights = option(StartWeights, "weights to start from")
    exact: bool = option(False, "the official order of operations instead of the fast paths (same numbers, slower)")

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values above: (key, sentence)."""
        found = []
        if self.image_hw is not None and (len(self.image_hw) != 2 or min(self.image_hw) < 1):
            found.append(("image_hw", "two numbers, height and width. Write e.g. [192, 320]."))
        stages = len(SIZES[self.size]["video"]["window_size"])
        windows = self.temporal_windows
        if windows is not None and (len(windows) != stages or min(windows) < 1):
            text = f"size {self.size} has {stages} stages. Give as many windows, each of one frame or more."
            found.append(("temporal_windows", text))
        if self.tokenizer is None and self.size != "tiny":
            text = f"size {self.size} needs BERT's vocabulary. Give the path of bert-base-uncased's vocab.txt."
            found.append(("tokenizer", text))
        frames = self.num_frames or SIZES[self.size]["num_frames"]
        if frames % self.clips:
            text = f"{frames} frames cannot be split into {self.clips} equal clips. Change clips or num_frames."
            found.append(("clips", text))
        return found

    def missing_files(self) -> list[tuple[str, str]]:
        """Files that are not where the config says: (key, sentence)."""
        text = missing(self.tokenizer) if self.tokenizer is not None else None
        return [("tokenizer", f"{text} Give BERT's vocab.txt.")] if text else []


@dataclass
class LFVilaPretrainConfig(LFVilaConfig):
    """Both stages of pre-training."""

    arch: str = option("lf_vila_pretrain", "registry name")
    stage: int = option(1, "1: contrastive losses; 2: MLM and VTM over the frozen stage one", low=1, high=2)
    temperature: float = option(0.05, "of the global contrastive loss", low=1e-6)
    mtc_temperature: float = option(0.05, "of the MTC loss", low=1e-6)
    global_weight: float = option(1.0, "weight of the global contrastive loss", low=0.0)
    mtc_weight: float = option(0.25, "weight of the MTC loss", low=0.0)
    num_key: int = option(2, "MTC: keys per sample", low=1)
    num_value: int = option(2, "MTC: candidate values from the own sample", low=1)
    num_other_neg: int = option(3, "MTC: further candidates, one per sample, the own one first", low=0)
    mlm_weight: float = option(1.0, "weight of masked language modelling", low=0.0)
    vtm_weight: float = option(10.0, "weight of video-text matching", low=0.0)
    mlm_probability: float = option(0.15, "share of tokens to be predicted", low=0.0, high=1.0)
    frozen_dropout: bool = option(True, "dropout stays active in the frozen text layers (as officially)")


@dataclass
class LFVilaRetrievalConfig(LFVilaConfig):
    """Fine-tuning for retrieval."""

    arch: str = option("lf_vila_retrieval", "registry name")
    temperature: float = option(0.05, "of the contrastive loss", low=1e-6)
    split_text: bool = option(True, "keep the sentences apart (at most `clips`); false: join them all")


@dataclass
class LFVilaAnswersConfig(LFVilaConfig):
    """A question answered by one of many answers, or a statement judged true or false."""

    arch: str = option("lf_vila_answers", "registry name")
    num_answers: int = option(1654, "classes of the answer head", low=2)
    answers: str | None = option(
        None, "file with one answer per line, in order; null: samples carry class numbers", path=True
    )
    max_subtitles: int = option(0, "groups of subtitle lines after the question (VIOLIN: 4)", low=0)
    label_smoothing: float = option(0.0, "of the cross entropy", low=0.0, high=0.99)

    def missing_files(self) -> list[tuple[str, str]]:
        """Files that are not where the config says: (key, sentence)."""
        text = missing(self.answers) if self.answers is not None else None
        return super().missing_files() + ([("answers", f"{text} Give the file, or null.")] if text else [])


@dataclass
class LFVilaMultipleChoiceConfig(LFVilaConfig):
    """A question with options, and which frames show the answer."""

    arch: str = option("lf_vila_multiple_choice", "registry name")
    max_subtitles: int = option(6, "groups of subtitle lines after question and answer (How2QA: 6)", low=0)
    span_weight: float = option(1.0, "weight of the loss over frames inside the span", low=0.0)
    merge_sentences: bool = option(False, "question, answer and subtitles as one long sentence")


@dataclass
class LFVilaVideoConfig(LFVilaConfig):
    """Video classification (COIN, LVU), or regression."""

    arch: str = option("lf_vila_video", "registry name")
    num_classes: int = option(2, "classes of the head; 1 for regression", low=1)
    regression: bool = option(False, "predict a number instead of a class")
    target_offset: float = option(0.0, "regression: taken from the labels, so that the head learns numbers around 0")
