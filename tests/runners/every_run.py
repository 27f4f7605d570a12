"""A tiny run for every registered model and task, over one made folder of videos and rows."""

import json
from pathlib import Path

import torch
from tiny_nextqa import REPOSITORY
from tiny_textvid import make_textvid
from video_files import make_video

from vidalign.registry import MODELS, TASKS

# model -> (config below configs/models, further settings, whether it reads feature rows)
SETTINGS = {
    "bovila": ("bovila_tiny", {}, True),
    "llama_vqa": ("llama_vqa_tiny", {}, True),
    "topa": ("topa_tiny", {}, True),
    "vila": ("vila_tiny", {}, False),
    "vila_ori": ("vila_ori_tiny", {}, False),
    "vila_lora": ("vila_lora_tiny", {}, False),
    "sevila": ("sevila_tiny", {}, False),
    "video_panda": ("video_panda_tiny", {"max_new_tokens": 4}, False),
    "lf_vila_pretrain": ("lf_vila_tiny", {}, False),
    "lf_vila_retrieval": ("lf_vila_tiny", {}, False),
    "lf_vila_answers": ("lf_vila_tiny", {"num_answers": 3}, False),
    "lf_vila_multiple_choice": ("lf_vila_tiny", {}, False),
    "lf_vila_video": ("lf_vila_tiny", {"num_classes": 3}, False),
}
# task -> kind of the rows
ROWS = {
    "multiple_choice": "mc_qa",
    "mvbench": "mc_qa",
    "open_ended": "open_qa",
    "captioning": "caption",
    "retrieval": "retrieval",
    "classification": "classification",
    "regression": "regression",
    "moments": "moment",
}
PAIRS = [
    (task, model) for task in TASKS for model in MODELS if TASKS.entry(task).needs in MODELS.entry(model).abilities
]
CONFIG = """base: [{repository}/configs/models/{base}.yaml, {repository}/configs/datasets/own_data.yaml]
model: {model}
datasets:
  own_data: {{root: {root}/{kind}, features: {features}, videos: ../videos, task: {kind}, train: train, eval: val}}
task: {task}
paths: {{cache: {root}/cache}}
run:
  device: cpu
  precision: fp32
  max_epochs: 2
  batch_size_per_gpu: 2
  accumulate: 2
  num_workers: 0
  save_every_steps: 1
  log_every_steps: 1
  max_failed_share: 0.5
  optimizer: {{name: adamw, lr: 1e-3}}
  schedule: {{name: constant}}
  tensorboard: false
"""
COLOURS = ("red", "green", "blue")


def make_data(root, *, videos=5, rows=9):
    """`rows` rows of every kind for training and evaluation; one video is missing. Several rows share a video."""
    (root / "videos").mkdir(parents=True)
    for number in range(videos):
        make_video(root / "videos" / f"v{number}.mp4", frames=12 + 3 * number)
    generator = torch.Generator().manual_seed(0)
    features = {f"v{number}": torch.randn(6 + number, 64, generator=generator).half() for number in range(videos)}
    for kind in dict.fromkeys(ROWS.values()):
        (root / kind).mkdir()
        torch.save(features, root / kind / "features.pth")
        for split in ("train", "val"):
            lines = [
                _row(kind, number, "gone" if number == rows - 1 else f"v{number % videos}") for number in range(rows)
            ]
            (root / kind / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    make_textvid(root / "textvid")
    return root


def _row(kind, number, video):
    colour = COLOURS[number % 3]
    asked = {"question": f"what colour is ball {number}"}
    rest = {
        "mc_qa": {**asked, "options": [f"{one} ball" for one in COLOURS], "answer_idx": number % 3},
        "open_qa": {**asked, "answer": f"a {colour} ball"},
        "caption": {"answers": [f"a {colour} ball", f"the ball is {colour}"]},
        "retrieval": {"texts": [f"a {colour} ball.", f"it rolls {number} times."]},
        "classification": {**asked, "label": number % 3},
        "regression": {"label": number / 2},
        "moment": {**asked, "windows": [[0.2, 0.8]], "duration_seconds": 1.2, "clip_len": 0.5},
    }
    return {"id": str(number), "video": video, **rest[kind]}


def write_config(folder, data, *, task, model, **settings):
    """The config of a pair; settings: further ones of the model."""
    base, more, reads_rows = SETTINGS[model]
    if task == "regression":
        more = {"regression": True, "num_classes": 1}
    path = Path(folder) / f"{task}-{model}.yaml"
    path.write_text(
        CONFIG.format(
            repository=REPOSITORY,
            base=base,
            root=data,
            kind=ROWS[task],
            features="features.pth" if reads_rows else "null",
            model=json.dumps({"arch": model, **more, **settings}),
            task=json.dumps({"name": task, **({"meteor": False} if task == "captioning" else {})}),
        )
    )
    return path
