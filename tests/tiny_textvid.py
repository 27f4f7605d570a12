"""A made TextVID folder, an EgoSchema folder beside it, and a config over TOPA's tiny model."""

import json
import pickle
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
THINGS = ("ball", "car", "tree", "house", "boat", "kite")


def make_textvid(root, *, videos=12, dim=64, seed=0):
    """textvid.json, features/<idx>.pkl, memory.pkl. Each video shows one thing; its features are that thing's."""
    (root / "features").mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(len(THINGS), dim, generator=generator)
    items = []
    for number in range(videos):
        thing = number % len(THINGS)
        frames = [
            {f"k{k}": f"a {THINGS[thing]}" for k in range(1 + (frame + number) % 3)} for frame in range(3 + number % 9)
        ]
        count = sum(map(len, frames))
        rows = directions[thing] + 0.1 * torch.randn(count, dim, generator=generator)
        (root / "features" / f"t{number}.pkl").write_bytes(pickle.dumps(rows.half()))
        items.append(
            {"idx": f"t{number}", "frames": frames, "QAs": _questions(thing), "global_video_caption": _caption(thing)}
        )
    (root / "textvid.json").write_text(json.dumps(items))
    (root / "memory.pkl").write_bytes(pickle.dumps(directions))
    return root


def change(root, number, **values):
    """Put other values into one item of a made TextVID folder."""
    items = json.loads((root / "textvid.json").read_text())
    items[number] |= values
    (root / "textvid.json").write_text(json.dumps(items))


def question(thing, answer=None):
    """One question about a thing; its options are all things but one."""
    options = [THINGS[(thing + k) % len(THINGS)] for k in range(5)]
    return {"question": "what is shown", "options": options, "answer": answer or "A"}


def _questions(thing):
    return [question(thing), {**question(thing), "answer_open_ended": f" It is a {THINGS[thing]}. "}]


def _caption(thing):
    return f"The video shows a {THINGS[thing]}."


def make_egoschema(root, *, rows=4, dim=64):
    """questions.json, subset_answers.json and features of half of the videos' full set."""
    (root / "features").mkdir(parents=True)
    rows = [
        {"q_uid": f"e{n}", "question": "What is shown.", **{f"option {k}": THINGS[k] for k in range(5)}}
        for n in range(rows)
    ]
    (root / "questions.json").write_text(json.dumps(rows))
    (root / "subset_answers.json").write_text(json.dumps({row["q_uid"]: 1 for row in rows[:3]}))
    for row in rows:
        torch.save(torch.randn(20, dim), root / "features" / f"{row['q_uid']}.pth")
    return root


def write_config(path, root):
    """Tiny text-only pre-alignment: mixed tasks, noise, EgoSchema through the memory."""
    configs = f"{REPOSITORY}/configs"
    path.write_text(
        f"""base: [{configs}/models/topa_tiny.yaml, {configs}/datasets/textvid.yaml, {configs}/datasets/egoschema.yaml]
model:
  max_seq_len: 160
  eval_max_seq_len: 300
  overflow: skip
  noise_variance: 0.01
  losses: {{caption_share: 0.5}}
  memory: {{path: {root}/textvid/memory.pkl}}
task: {{name: multiple_choice}}
paths: {{data_root: {root}, cache: {root}/cache}}
run:
  device: cpu
  precision: fp32
  max_epochs: 2
  batch_size_per_gpu: 2
  num_workers: 0
  log_every_steps: 1
  max_failed_share: 0.4
  optimizer: {{name: adamw, lr: 1e-2, betas: [0.9, 0.95], weight_decay: 0.1}}
  schedule: {{name: warmup_cosine, warmup_epochs: 0.5}}
  tensorboard: false
  output_dir: {root}/out
"""
    )
    return path
