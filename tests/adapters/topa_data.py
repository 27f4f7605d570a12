"""Reference cases of TOPA's prompts: texts and annotation files to token rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refcases.case import Case

from vidalign.common.errors import MediaError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.config import DatasetConfig
from vidalign.models.topa.prompts import prompt_form
from vidalign.models.topa.rows import open_row, summary_row
from vidalign.registry import DATASETS
from vidalign.text.pack import Row, stack
from vidalign.text.prompt_rows import RowMaker
from vidalign.text.prompt_texts import Texts
from vidalign.text.sample_rows import SampleRows
from vidalign.text.tokenizers import Tokenizer, load_tokenizer

TOKENIZERS = {"llama2": "tiny_llama2_tokenizer.model", "llama3": "tiny_llama3_tokenizer.tiktoken"}
STREAMS = {"vqa": "vqa", "vaq": "vaq", "qav": "qav", "dvqa": "vqa", "dvaq": "vaq", "dqav": "qav"}


def tokenizer_of(case: Case, name: str) -> Tokenizer:
    """One of the two synthetic tokenizers beside the cases."""
    return load_tokenizer(case.file(TOKENIZERS[name]))


def run_tokenizer(case: Case) -> dict[str, Any]:
    """Raw encodings, and the rows of all eight prompt builders for one and for all options."""
    tokenizer = tokenizer_of(case, case.json["llama"])
    result: dict[str, Any] = {}
    for number, text in enumerate(case.json["raw"]):
        result[f"out/raw.{number}"] = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
    for number, item in enumerate(case.json["items"]):
        count = len(item["answer_mapping"])
        for split, options in (("train", [item["answer"]]), ("val", list(range(count)))):
            for name, rows, rest in item_rows(case, tokenizer, item["text"], options, train=split == "train"):
                place = f"out/item{number}.{split}.{name}"
                result |= {f"{place}.ids{index}": row.ids for index, row in enumerate(rows)}
                result[f"{place}.rest"] = rest
    return result


def item_rows(
    case: Case, tokenizer: Tokenizer, text: dict[str, Any], options: list[int], *, train: bool
) -> Iterator[tuple[str, list[Row], list[int]]]:
    """(builder, rows, its remaining integers) of one item."""
    for name, stream in STREAMS.items():
        spoken = name.startswith("d")
        maker = row_maker(case, tokenizer, dialogue=spoken)
        texts = Texts(
            question=text["q_text"],
            options=text["o_text"],
            answer=text["a_text"],
            dialogue=text["d_text"] if spoken else None,
        )
        rows = maker.rows(stream, texts, options)
        row = rows[0]
        rest = [row.supervised] if stream == "qav" else [row.supervised, row.video_start]
        yield name, rows, [*rest, row.cut_start, row.cut_end] if spoken else rest
    maker = row_maker(case, tokenizer, dialogue=False)
    row = summary_row(maker, text["c_text"])
    if train:
        yield "videocap", [row], [row.supervised, row.video_start]
    answers = [text["oa_text"]] if train else [text["open_options"][option] for option in options]
    rows = [open_row(maker, text["q_text"], answer) for answer in answers]
    yield "openvqa", rows, [rows[0].supervised, rows[0].video_start]


def row_maker(case: Case, tokenizer: Tokenizer, *, dialogue: bool) -> RowMaker:
    """Rows as the official code makes them, positions included."""
    return RowMaker(
        tokenizer,
        form=prompt_form(tokenizer, dataset="nextqa", dialogue=dialogue),
        num_frames=case.json["max_feats"],
        dialogue_form=dialogue,
        official_positions=True,
    )


def run_dataset_overflow(case: Case) -> dict[str, Any]:
    """The shortest max_seq_len with which each NExT-QA row is accepted, and its rows at that length."""
    result: dict[str, Any] = {}
    for number, wanted in enumerate(case.json["rows"]):
        tokenizer = tokenizer_of(case, wanted["tokenizer"])
        with nextqa_samples(case) as (samples, info):
            sample = samples[wanted["row"]]
            # Lengths are tried one after the other; the longest row of all is surely long enough.
            lengths = iter(range(1, len(case.json["annotations"])))
            length = next(count for count in lengths if accepted(case, tokenizer, sample, info, count))
            maker = sample_rows(case, tokenizer, info, length)
            rows = maker.rows("vqa", sample, list(range(len(sample.options))))
            qav = maker.maker.rows("qav", maker.texts(sample), [sample.answer_idx])[0]
        name = f"out/{wanted['tokenizer']}.{wanted['row']}"
        result |= {f"{name}.vqa_ids": stack(rows, length), f"{name}.vqa_label": maker.labels("vqa", rows, length)}
        result |= {
            f"json:rows/{number}/shortest_max_seq_len_accepted": length,
            f"json:rows/{number}/vqa_len": len(rows[0]),
            f"json:rows/{number}/qav_prefix_index": qav.supervised,
            f"json:rows/{number}/qav_len": len(qav),
        }
    return result


def accepted(case: Case, tokenizer: Tokenizer, sample: Sample, info: DatasetInfo, length: int) -> bool:
    """Whether every stream of a row can be made at this length."""
    maker = sample_rows(case, tokenizer, info, length)
    try:
        for stream in ("vqa", "vaq", "qav"):
            maker.rows(stream, sample, list(range(len(sample.options))))
    except MediaError:
        return False
    return True


def sample_rows(case: Case, tokenizer: Tokenizer, info: DatasetInfo, length: int) -> SampleRows:
    """The prompts of an evaluation split with the official treatment of long rows."""
    return SampleRows(
        tokenizer,
        form=prompt_form(tokenizer, dataset=info.name, dialogue=info.dialogue is not None),
        info=info,
        num_frames=case.json["max_feats"],
        max_seq_len=length,
        train=False,
        overflow="official",
        official_positions=True,
    )


@contextmanager
def nextqa_samples(case: Case) -> Iterator[tuple[list[Sample], DatasetInfo]]:
    """The case's rows through the package's NExT-QA reader."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "val.csv").write_text(case.json["annotations"], encoding="utf-8")
        builder = DATASETS.load("nextqa")(DatasetConfig(root=folder))
        yield builder.samples("val"), builder.info
