"""Names in YAML -> classes. Plain tables; nothing is imported before it is asked for, so listing them costs nothing.

To add something in the tree, add one line here. Outside the tree, call `register` in a module named by `--plugins`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from vidalign.common.errors import ConfigError, unknown


@dataclass(frozen=True)
class Entry:
    """One name: the class or function ("module:attribute"), its config dataclass, and one line of description.

    `config` must point into a module that imports neither torch nor transformers. `abilities` (models) are listed here,
    so that a wrong pairing of task and model is told without importing the model; a test compares them with the class.
    `needs` (tasks) is the ability the task asks for. `export` (models) names the function that gives a checkpoint of
    ours the layout of the authors' files (`vidalign export`); `export_folder` the one that writes them as a folder.
    """

    target: str
    config: str | None = None
    summary: str = ""
    abilities: tuple[str, ...] = ()
    needs: str | None = None
    export: str | None = None
    export_folder: str | None = None


class Registry:
    """A table of one kind of thing."""

    def __init__(self, kind: str, table: dict[str, Entry]) -> None:
        self.kind = kind
        self._table = dict(table)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._table))

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def entry(self, name: str) -> Entry:
        """The table row of `name`; an unknown name raises ConfigError with the nearest one."""
        if name not in self._table:
            raise ConfigError(unknown(self.kind, name, self._table))
        return self._table[name]

    def load(self, name: str) -> type:
        """Import and return the registered class or function."""
        return resolve(self.entry(name).target)

    def config(self, name: str) -> type | None:
        """Import and return the config dataclass, None when the thing has none."""
        path = self.entry(name).config
        return resolve(path) if path else None

    def register(self, name: str, entry: Entry) -> None:
        """Add a name from a plug-in; taking a name twice is an error, unless it is the very same entry."""
        if name in self._table and self._table[name] != entry:
            raise ConfigError(f"{self.kind} {name!r} is already registered as {self._table[name].target}")
        self._table[name] = entry


def resolve(path: str) -> type:
    """ "package.module:attribute" -> the attribute."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


_LLAMA_VQA_FILE = "vidalign.models.bovila.keys:official_checkpoint"
_VILA_FILE = "vidalign.models.vila.keys:official_checkpoint"
_SETS = "vidalign.data.sets"
_DATASET = f"{_SETS}.config:DatasetConfig"

_LF_VILA = "vidalign.models.lf_vila"
_LF_VILA_RATES = "vidalign.runners.lf_vila_schedules"

MODELS = Registry(
    "model",
    {
        "lf_vila_pretrain": Entry(
            f"{_LF_VILA}.pretrain:LFVilaPretrain",
            f"{_LF_VILA}.config:LFVilaPretrainConfig",
            "LF-VILA: long-form pre-training, stages one and two (arXiv 2210.06031)",
            abilities=("embed_text", "embed_video"),
        ),
        "lf_vila_retrieval": Entry(
            f"{_LF_VILA}.retrieval:LFVilaRetrieval",
            f"{_LF_VILA}.config:LFVilaRetrievalConfig",
            "LF-VILA for paragraph-to-video retrieval",
            abilities=("embed_text", "embed_video"),
        ),
        "lf_vila_answers": Entry(
            f"{_LF_VILA}.heads:LFVilaAnswers",
            f"{_LF_VILA}.config:LFVilaAnswersConfig",
            "LF-VILA with an answer head (ActivityNet-QA, VIOLIN)",
            abilities=("classify",),
        ),
        "lf_vila_multiple_choice": Entry(
            f"{_LF_VILA}.heads:LFVilaMultipleChoice",
            f"{_LF_VILA}.config:LFVilaMultipleChoiceConfig",
            "LF-VILA for multiple choice with a span head (How2QA)",
            abilities=("score_options",),
        ),
        "lf_vila_video": Entry(
            f"{_LF_VILA}.heads:LFVilaVideo",
            f"{_LF_VILA}.config:LFVilaVideoConfig",
            "LF-VILA's video encoder with a classifier, or for regression (COIN, LVU)",
            abilities=("classify", "regress"),
        ),
        "bovila": Entry(
            "vidalign.models.bovila.model:BoViLA",
            "vidalign.models.bovila.config:BoViLAConfig",
            "BoViLA: LLM self-questioning with evidential answers (arXiv 2410.02768)",
            abilities=("score_options",),
            export=_LLAMA_VQA_FILE,
        ),
        "llama_vqa": Entry(
            "vidalign.models.bovila.llama_vqa:LlamaVQA",
            "vidalign.models.bovila.config:LlamaVQAConfig",
            "LLaMA-VQA / Flipped-VQA: answer, question and video predicted from one another (arXiv 2310.15747)",
            abilities=("score_options",),
            export=_LLAMA_VQA_FILE,
        ),
        "video_panda": Entry(
            "vidalign.models.video_panda.model:VideoPanda",
            "vidalign.models.video_panda.config:VideoPandaConfig",
            "Video-Panda: video tokens without a vision encoder, aligned to LanguageBind (arXiv 2412.18609)",
            abilities=("generate",),
            export_folder="vidalign.models.video_panda.stage_folder:write_stage_folder",
        ),
        "vila": Entry(
            "vidalign.models.vila.model:ViLA",
            "vidalign.models.vila.config:ViLAConfig",
            "ViLA: Frame-Prompter and QFormer-Distiller over InstructBLIP FLAN-T5 (arXiv 2312.08367)",
            abilities=("score_options",),
            export=_VILA_FILE,
        ),
        "vila_ori": Entry(
            "vidalign.models.vila.model:ViLA",
            "vidalign.models.vila.config:ViLAOriConfig",
            "ViLA's plain stage: every given frame reaches T5 (arXiv 2312.08367)",
            abilities=("score_options",),
            export=_VILA_FILE,
        ),
        "sevila": Entry(
            "vidalign.models.vila.sevila:SeViLA",
            "vidalign.models.vila.config:SeViLAConfig",
            "SeViLA: frame localizer and answerer over BLIP-2 FLAN-T5 (arXiv 2305.06988)",
            abilities=("score_options", "locate"),
            export=_VILA_FILE,
        ),
        "vila_lora": Entry(
            "vidalign.models.vila.model:ViLA",
            "vidalign.models.vila.config:ViLALoRAConfig",
            "ViLA with low-rank factors in T5 (arXiv 2312.08367)",
            abilities=("score_options",),
            export=_VILA_FILE,
        ),
        "topa": Entry(
            "vidalign.models.topa.model:TOPA",
            "vidalign.models.topa.config:TOPAConfig",
            "TOPA: text-only pre-alignment, video moved to the text side by a support memory (arXiv 2405.13911)",
            abilities=("score_options", "generate"),
            export="vidalign.models.topa.keys:official_checkpoint",
        ),
    },
)
DATASETS = Registry(
    "dataset",
    {
        "lfvila8m": Entry(
            f"{_SETS}.lfvila8m:LFVila8M", _DATASET, "LF-VILA-8M: runs of clips (jsonl, LMDB, tar shards)"
        ),
        "clips_paragraphs": Entry(
            f"{_SETS}.clips_paragraphs:ClipsParagraphs", _DATASET, "hand-written paragraphs over real videos"
        ),
        "nextqa": Entry(f"{_SETS}.nextqa:NextQA", _DATASET, "NExT-QA multiple choice (csv)"),
        "clips": Entry(f"{_SETS}.nextqa:Clips", _DATASET, "hand-written questions over real videos, NExT-QA layout"),
        "nextqa_oe": Entry(f"{_SETS}.nextqa:NextOE", _DATASET, "NExT-QA open-ended (csv)"),
        "msrvtt_qa": Entry(f"{_SETS}.open_qa:MsrvttQA", _DATASET, "MSRVTT-QA open-ended (json)"),
        "msvd_qa": Entry(f"{_SETS}.open_qa:MsvdQA", _DATASET, "MSVD-QA open-ended (json)"),
        "activitynet_qa": Entry(f"{_SETS}.open_qa:ActivityNetQA", _DATASET, "ActivityNet-QA open-ended (json)"),
        "tgif_qa": Entry(
            f"{_SETS}.tgif_qa:TgifQA",
            f"{_SETS}.tgif_qa:TgifConfig",
            "TGIF-QA: action, transition, frameqa, count (csv)",
        ),
        "activitynet_captions": Entry(
            f"{_SETS}.paragraphs:ActivityNetCaptions", _DATASET, "ActivityNet Captions: paragraph retrieval (json)"
        ),
        "queryd": Entry(f"{_SETS}.paragraphs:QuerYD", _DATASET, "QuerYD: paragraph retrieval (json)"),
        "didemo": Entry(f"{_SETS}.didemo:DiDeMo", _DATASET, "DiDeMo: paragraph retrieval (json)"),
        "condensed_movies": Entry(
            f"{_SETS}.condensed_movies:CondensedMovies", _DATASET, "Condensed Movies: sentence retrieval (csv)"
        ),
        "violin": Entry(f"{_SETS}.violin:Violin", _DATASET, "VIOLIN: statements about clips, true or not (json)"),
        "coin": Entry(f"{_SETS}.video_classes:Coin", _DATASET, "COIN: one of 180 tasks (json)"),
        "lvu": Entry(
            f"{_SETS}.video_classes:Lvu", f"{_SETS}.video_classes:LvuConfig", "LVU: nine tasks on film clips (csv)"
        ),
        "own_data": Entry(
            f"{_SETS}.own_data:OwnData",
            f"{_SETS}.own_data:OwnDataConfig",
            "your own rows as JSON Lines, docs/own_data.md",
        ),
        "conversations": Entry(
            f"{_SETS}.conversations:Conversations",
            f"{_SETS}.config:ConversationConfig",
            "conversations in LLaVA's form (json), videos, pictures and text",
        ),
        "valley": Entry(
            f"{_SETS}.conversations:Valley", f"{_SETS}.config:ConversationConfig", "Valley-702k conversations (json)"
        ),
        "videochatgpt_tune": Entry(
            f"{_SETS}.conversations:VideoChatGPTTune",
            f"{_SETS}.config:ConversationConfig",
            "Video-ChatGPT-100k conversations (json)",
        ),
        "clips_qa": Entry(f"{_SETS}.clips_qa:ClipsQA", _DATASET, "hand-written open-ended questions over real videos"),
        "video_chatgpt": Entry(
            f"{_SETS}.video_chatgpt:VideoChatGPT", _DATASET, "Video-ChatGPT's generative benchmark (json)"
        ),
        "star": Entry(f"{_SETS}.star:Star", _DATASET, "STAR situated reasoning (json)"),
        "how2qa": Entry(f"{_SETS}.how2qa:How2QA", _DATASET, "How2QA (processed csv, authors' csv, VALUE jsonl)"),
        "vlep": Entry(f"{_SETS}.vlep:Vlep", _DATASET, "VLEP future event prediction (jsonl)"),
        "qvhighlights": Entry(
            f"{_SETS}.qvhighlights:QVHighlights", _DATASET, "QVHighlights moments and highlights (jsonl)"
        ),
        "tvqa": Entry(f"{_SETS}.tvqa:Tvqa", _DATASET, "TVQA (jsonl, srt)"),
        "dramaqa": Entry(f"{_SETS}.dramaqa:DramaQA", _DATASET, "DramaQA (json, shots and scenes)"),
        "egoschema": Entry(
            f"{_SETS}.egoschema:EgoSchema", _DATASET, "EgoSchema: labelled subset, full set (json, csv)"
        ),
        "perception": Entry(f"{_SETS}.egoschema:Perception", _DATASET, "Perception Test multiple choice (csv, TOPA)"),
        "textvid": Entry(f"{_SETS}.textvid:TextVid", _DATASET, "TextVID: textual videos with questions (json, TOPA)"),
        "webvid": Entry(f"{_SETS}.textvid:WebVid", _DATASET, "captioned WebVid features (json, TOPA)"),
        "msrvtt": Entry(f"{_SETS}.captions:MsrVtt", _DATASET, "MSR-VTT captions (json)"),
        "vatex": Entry(f"{_SETS}.captions:Vatex", _DATASET, "VATEX captions, English (json)"),
        "clip_captions": Entry(f"{_SETS}.captions:ClipCaptions", _DATASET, "hand-written captions of real videos"),
        "mvbench": Entry(f"{_SETS}.mvbench:MVBench", _DATASET, "MVBench, twenty tasks (json)"),
        "shapes": Entry(
            "vidalign.data.shapes.builder:Shapes",
            "vidalign.data.shapes.config:ShapesConfig",
            "drawn videos of coloured shapes, made on first use; no download",
        ),
        "shapes_paragraphs": Entry(
            "vidalign.data.shapes.paragraph_sets:ShapesParagraphs",
            "vidalign.data.shapes.config:ShapesParagraphsConfig",
            "drawn videos of four moments with their paragraphs; every one has a twin in another order",
        ),
        "shapes_text": Entry(
            "vidalign.data.shapes.text_videos:ShapesText",
            "vidalign.data.shapes.config:ShapesTextConfig",
            "captions of drawn clips as textual videos (TOPA)",
        ),
    },
)
TASKS = Registry(
    "task",
    {
        "retrieval": Entry(
            "vidalign.tasks.retrieval:Retrieval",
            "vidalign.tasks.config:RetrievalConfig",
            "texts and videos find one another",
            needs="embed_video",
        ),
        "classification": Entry(
            "vidalign.tasks.classification:Classification",
            "vidalign.tasks.config:ClassificationConfig",
            "the class of a video, or of the answer to a question",
            needs="classify",
        ),
        "regression": Entry(
            "vidalign.tasks.classification:Regression",
            "vidalign.tasks.config:RegressionConfig",
            "a number for a video",
            needs="regress",
        ),
        "multiple_choice": Entry(
            "vidalign.tasks.multiple_choice:MultipleChoice",
            "vidalign.tasks.config:MultipleChoiceConfig",
            "choose one of the options by its score",
            needs="score_options",
        ),
        "captioning": Entry(
            "vidalign.tasks.captioning:Captioning",
            "vidalign.tasks.config:CaptioningConfig",
            "say what a video shows; BLEU, METEOR, ROUGE-L, CIDEr",
            needs="generate",
        ),
        "open_ended": Entry(
            "vidalign.tasks.open_ended:OpenEnded",
            "vidalign.tasks.config:OpenEndedConfig",
            "answer questions in the model's own words",
            needs="generate",
        ),
        "mvbench": Entry(
            "vidalign.tasks.mvbench:MVBench",
            "vidalign.tasks.config:MVBenchConfig",
            "choose an option by writing its letter, matched officially and strictly",
            needs="generate",
        ),
        "moments": Entry(
            "vidalign.tasks.moments:Moments",
            "vidalign.tasks.config:MomentsConfig",
            "windows in seconds for a query, and a number per clip",
            needs="locate",
        ),
    },
)
RUNNERS = Registry(
    "runner", {"default": Entry("vidalign.runners.run:Runner", None, "the training and the evaluation loop")}
)
SCHEDULES = Registry(
    "schedule",
    {
        "lf_vila_linear": Entry(f"{_LF_VILA_RATES}:lf_vila_linear", None, "LF-VILA: straight line to 1 % of the peak"),
        "lf_vila_step": Entry(f"{_LF_VILA_RATES}:lf_vila_step", None, "LF-VILA: a factor every so many epochs"),
        "lf_vila_cosine": Entry(f"{_LF_VILA_RATES}:lf_vila_cosine", None, "LF-VILA: cosine counted from the start"),
        "constant": Entry("vidalign.runners.schedules:constant", None, "the peak rate throughout"),
        "warmup_cosine": Entry(
            "vidalign.runners.schedules:warmup_cosine", None, "linear warm-up from 0, half cosine to min_lr"
        ),
        "lavis_warmup_cosine": Entry(
            "vidalign.runners.schedules:lavis_warmup_cosine",
            None,
            "ViLA, SeViLA: warm-up in the first epoch, cosine by epochs",
        ),
        "lavis_warmup_step": Entry(
            "vidalign.runners.schedules:lavis_warmup_step", None, "warm-up in the first epoch, a factor per epoch"
        ),
        "warmup_cosine_whole": Entry(
            "vidalign.runners.schedules:warmup_cosine_whole",
            None,
            "warmup_cosine with a warm-up of whole steps",
        ),
        "warmup_linear": Entry(
            "vidalign.runners.schedules:warmup_linear", None, "linear warm-up from 0, straight line to min_lr"
        ),
    },
)
_JUDGES = "vidalign.runners.judges"
JUDGES = Registry(
    "judge",
    {
        "exact": Entry(f"{_JUDGES}:exact", None, "the same words as the reference answer, offline"),
        "contained": Entry(
            f"{_JUDGES}:contains", None, "the reference answer's words somewhere in the answer, offline"
        ),
        "recorded": Entry(f"{_JUDGES}:recorded", None, "replies of a judge kept earlier (jsonl)"),
        "http": Entry(f"{_JUDGES}:http", None, "a chat model behind an OpenAI-compatible endpoint"),
        "local": Entry(f"{_JUDGES}:local", None, "a Hugging Face chat model on this machine"),
    },
)
ALL = (MODELS, DATASETS, TASKS, RUNNERS, SCHEDULES, JUDGES)
