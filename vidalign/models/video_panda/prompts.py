"""Conversations as prompts: placeholders, chat template, ids and label masks (Video-Panda, after LLaVA and Vicuna).

Specification video_panda, sections 4.4 and 4.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import torch
from torch import Tensor

from vidalign.common.errors import DataError
from vidalign.models.video_panda.splice import IGNORE, PLACEHOLDER
from vidalign.text.chat_tokens import ChatTokenizer
from vidalign.text.prompt_texts import letter

IMAGE, VIDEO = "<image>", "<video>"
PAD = 0
_SYSTEM = (
    "A chat between a curious {0} and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
    "polite answers to the {0}'s questions."
)
# Kept: training and evaluation say it differently; released scores depend on it. [text_eval_prompt]
TEMPLATES = {"v1": _SYSTEM.format("user"), "videopanda_v1": _SYSTEM.format("human")}
ROLES = {"human": "USER", "gpt": "ASSISTANT"}
CHOSEN = "Best option:("
_ANSWER = " ASSISTANT: "
_END = "</s>"


def rewrite(text: str, *, num_frames: int) -> str:
    """One turn of a sample with pictures: placeholders at its end go to the front, a video becomes `num_frames`
    pictures, more pictures than that are cut off. [text_preprocess_and_labels]
    """
    for placeholder in (IMAGE, VIDEO):
        if text.endswith(placeholder):
            several = placeholder * text.count(placeholder)
            text = f"{several}\n{text.replace(chr(10) + several, '').strip()}".strip()
    count = text.count(IMAGE)
    if count > num_frames:
        text = text.replace(IMAGE * count, IMAGE * num_frames)
    return text.replace(VIDEO, IMAGE * num_frames)


def rewritten(turns: Sequence[Mapping[str, str]], *, num_frames: int, visual: bool) -> list[str]:
    """The texts of a conversation's turns; those of a sample without pictures stay as they are."""
    return [rewrite(turn["value"], num_frames=num_frames) if visual else turn["value"] for turn in turns]


def chat(turns: Sequence[Mapping[str, str]], texts: Sequence[str], *, template: str, where: str = "") -> str:
    """`{system} USER: {q} ASSISTANT: {a}</s>USER: ...`; answers before the first question are dropped.

    An empty answer has no end token. DataError when speakers do not alternate.
    """
    pairs = list(zip(turns, texts, strict=True))
    if pairs and pairs[0][0]["from"] != "human":
        pairs = pairs[1:]
    prompt = TEMPLATES[template] + " "
    for number, (turn, text) in enumerate(pairs):
        speaker = ("human", "gpt")[number % 2]
        if turn["from"] != speaker:
            raise DataError(f"{where}: turn {number + 1} is of {turn['from']!r}, {speaker!r} expected; mend the file")
        prompt += f"{ROLES[speaker]}: {text}{' ' if number % 2 == 0 else _END}" if text else f"{ROLES[speaker]}:"
    return prompt


def question_prompt(question: str, *, num_frames: int, begun: str = "") -> str:
    """The prompt of evaluation: the pictures, a newline, the question, and the assistant's turn, perhaps `begun`."""
    prompt = f"{TEMPLATES['videopanda_v1']} USER: {IMAGE * num_frames}\n{question} ASSISTANT:"
    return f"{prompt} {begun}" if begun else prompt


def choice_question(question: str, options: Sequence[str]) -> str:
    """MVBench's published question (arXiv 2311.17005); the answer to it begins with CHOSEN.

    Video-Panda has no wording of its own for options.
    """
    listed = "\n".join(f"{letter(index)} {option}" for index, option in enumerate(options))
    return f"Question: {question}\nOptions:\n{listed}\nOnly give the best option."


def tokenize(prompt: str, tokenizer: ChatTokenizer) -> list[int]:
    """Ids of a prompt, -200 for every picture. The text between two pictures is tokenised by itself."""
    first, *others = (tokenizer.encode(piece) for piece in prompt.split(IMAGE))
    return first + [one for piece in others for one in (PLACEHOLDER, *piece[1:])]


def prefix_length(ids: Sequence[int]) -> int:
    """Ids up to and with the last picture: what all questions about a clip share; the begin token alone without one."""
    return len(ids) - list(reversed(ids)).index(PLACEHOLDER) if PLACEHOLDER in ids else 1


def label(prompt: str, ids: Sequence[int], tokenizer: ChatTokenizer, *, max_length: int = 4096) -> list[int]:
    """Labels of `ids`: the answers and their end tokens; -100 elsewhere.

    Kept: when the rounds, tokenised one by one, do not add up to the whole, all is masked: an answer or question that
    holds " ASSISTANT: ", an empty answer, and later rounds of some tokenizers without `legacy`.
    [text_preprocess_and_labels]
    """
    labels = list(ids)
    labels[0] = IGNORE
    done = 1
    for turn in prompt.split(_END):
        parts = turn.split(_ANSWER)
        if turn == "" or len(parts) != 2:
            break
        # The begin token of the round stands in for the end token that the split took away.
        instruction = len(tokenize(parts[0] + _ANSWER, tokenizer)) - 2
        labels[done : done + instruction] = [IGNORE] * instruction
        done += len(tokenize(turn, tokenizer))
    labels[done:] = [IGNORE] * (len(labels) - done)
    if done < max_length and done != sum(one != PAD for one in ids):
        return [IGNORE] * len(labels)
    return labels


def pad(rows: Sequence[Tensor], labels: Sequence[Tensor], *, max_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, labels, mask) of a batch, padded on the right and cut at `max_length` before pictures take their places."""
    ids = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=PAD)[:, :max_length]
    marks = torch.nn.utils.rnn.pad_sequence(list(labels), batch_first=True, padding_value=IGNORE)[:, :max_length]
    return ids, marks, ids != PAD


def stops(made: Sequence[int], tokenizer: ChatTokenizer) -> bool:
    """Whether an answer is finished: its last ids are those of `</s>`, or that is written out in its last words."""
    keyword = stop_ids(tokenizer)
    tail = list(made[-max(len(keyword), 1) :])
    return tail == keyword or _END in tokenizer.decode(list(made[-3:]))


def stop_ids(tokenizer: ChatTokenizer) -> list[int]:
    """Ids of the end token without the begin token."""
    return tokenizer.encode(_END)[1:]


def official_model_name(path: str) -> str:
    """The part of a checkpoint's path by which the official evaluation chooses its model; ours has no such rule."""
    parts = PurePosixPath(path).parts
    name = parts[-1]
    return f"{parts[-2]}_{name}" if name.startswith("checkpoint-") else name.split("_")[0]
