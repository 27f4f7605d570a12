"""Clips -> Samples of every task. Each function gives the Samples of one clip (or pair of clips)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vidalign.common.rng import draw_seed
from vidalign.common.sample import Media, Sample, Subtitle
from vidalign.data.shapes import one_moment
from vidalign.data.shapes.questions import RANKS, Question, questions_of
from vidalign.data.shapes.world import COLOURS, FPS, SHAPES, SLOT_SECONDS, Clip

DATASET = "shapes"
PARAGRAPHS = "shapes_paragraphs"
CAPTION_REQUEST = "Describe the video concisely."
CLASSES = ("direction", "order", "count", "neighbours", "while", "hit", "vanish", "flash", "still", one_moment.KIND)


def multiple_choice(clip: Clip, split: str) -> list[Sample]:
    """uid `shapes/<split>/<clip>_<n>`."""
    return [
        _sample(
            clip,
            split,
            f"{clip.clip_id}_{n}",
            "mc_qa",
            question=asked.text,
            options=asked.options,
            answer_idx=asked.answer_idx,
            answer=asked.answer,
            qtype=asked.qtype,
            windows=tuple(clip.facts["windows"]) if clip.kind == one_moment.KIND else (),
        )
        for n, asked in enumerate(asked_of(clip))
    ]


def asked_of(clip: Clip) -> list[Question]:
    """All questions about a clip of any kind."""
    return [one_moment.moment_question(clip)] if clip.kind == one_moment.KIND else questions_of(clip)


def open_ended(clip: Clip, split: str) -> list[Sample]:
    """The same questions without options."""
    return [
        _sample(
            clip,
            split,
            f"{clip.clip_id}_open_{n}",
            "open_qa",
            question=asked.text,
            answer=asked.answer,
            answers=(asked.answer,),
            qtype=asked.qtype,
        )
        for n, asked in enumerate(asked_of(clip))
    ]


def captions(clip: Clip, split: str) -> list[Sample]:
    """One sentence about the whole clip."""
    text = sentence(clip)
    return [_sample(clip, split, f"{clip.clip_id}_caption", "caption", answer=text, answers=(text,))]


def classes(clip: Clip, split: str) -> list[Sample]:
    """What kind of event it is; label = place in CLASSES."""
    label = CLASSES.index(clip.kind)
    return [_sample(clip, split, f"{clip.clip_id}_class", "classification", label=float(label), answer=clip.kind)]


def moments(clip: Clip, split: str) -> list[Sample]:
    """A query for the moments the clip's facts name; clips without any give none."""
    queries = {
        "count": lambda facts: f"the {facts['shape']} is white",
        "while": lambda facts: "the square is white",
        "flash": lambda facts: "a flash appears",
        one_moment.KIND: lambda facts: "a cross appears",
    }
    if clip.kind not in queries:
        return []
    query = queries[clip.kind](clip.facts)
    windows = tuple(clip.facts["windows"])
    return [_sample(clip, split, f"{clip.clip_id}_moment", "moment", question=query, windows=windows)]


def subtitled(clip: Clip, split: str) -> list[Sample]:
    """The multiple-choice questions with one spoken line per second, which names what is then seen."""
    lines = tuple(
        Subtitle(start=round(slot * SLOT_SECONDS, 3), end=round((slot + 3) * SLOT_SECONDS, 3), text=text)
        for slot, text in list(enumerate(clip.captions))[::3]
    )
    return [
        Sample(**{**_fields(sample), "uid": sample.uid + "_spoken", "subtitles": lines})
        for sample in multiple_choice(clip, split)
    ]


def dialogue(clip: Clip, split: str) -> list[Sample]:
    """Questions and answers as turns, the user first; the video's place is marked in the first turn."""
    turns: list[str] = []
    for asked in asked_of(clip):
        turns += [f"{asked.text}?", f"{asked.answer}."]
    turns[0] = f"<video>\n{turns[0]}"
    return [_sample(clip, split, f"{clip.clip_id}_dialogue", "dialogue", texts=tuple(turns))]


def conversation(clip: Clip, split: str) -> list[Sample]:
    """Everything asked about a clip in one conversation, in any order: questions whose answers are single words (of an
    order clip all four) and, as often as not, the request for its caption.
    """
    import numpy as np

    rng = np.random.default_rng(draw_seed(0, 0, clip.clip_id, "shapes conversation"))
    pairs = [(asked.text, asked.answer) for asked in asked_of(clip)]
    if clip.kind == "order":
        ranks = zip(RANKS, clip.facts["colours"], strict=True)
        pairs = [(f"which colour appears {rank}", colour) for rank, colour in ranks]
    if rng.random() < 0.5:
        pairs.append((CAPTION_REQUEST, sentence(clip)))
    turns = [text for place in rng.permutation(len(pairs)) for text in pairs[place]]
    turns[0] = f"<video>\n{turns[0]}"
    return [_sample(clip, split, f"{clip.clip_id}_conversation", "dialogue", texts=tuple(turns))]


def textual_video(clip: Clip, split: str) -> list[Sample]:
    """Captions in place of pictures, with the first question."""
    asked = asked_of(clip)[0]
    return [
        Sample(
            uid=f"{DATASET}/{split}/{clip.clip_id}_text",
            dataset=DATASET,
            split=split,
            task="textvideo",
            media=Media(kind="text_frames", video_id=clip.clip_id),
            text_frames=tuple((text,) for text in clip.captions),
            question=asked.text,
            options=asked.options,
            answer_idx=asked.answer_idx,
            answer=asked.answer,
            qtype=asked.qtype,
        )
    ]


def paragraphs(pair: tuple[Clip, Clip], split: str) -> list[Sample]:
    """Four sentences per clip of a twin pair (see `paragraph_pair` in paragraphs.py)."""
    return [
        _sample(
            clip,
            split,
            f"{clip.clip_id}_paragraph",
            "retrieval",
            dataset=PARAGRAPHS,
            texts=tuple(clip.facts["sentences"]),
            text_spans=tuple(clip.facts["windows"]),
            answer=" ".join(clip.facts["sentences"]),
            meta={"twin": other.clip_id, "group": pair[0].clip_id},
        )
        for clip, other in (pair, pair[::-1])
    ]


def order_questions(clip: Clip, split: str) -> list[Sample]:
    """What is seen first, second, third, last? All four things are options: who knows no order has chance 0.25."""
    import numpy as np

    seen = clip.facts["sentences"]
    samples = []
    for place, rank in enumerate(RANKS):
        rng = np.random.default_rng(draw_seed(0, place, f"{split}/{clip.clip_id}", "shapes order options"))
        order = [int(i) for i in rng.permutation(len(seen))]
        samples.append(
            _sample(
                clip,
                split,
                f"{clip.clip_id}_{rank}",
                "mc_qa",
                dataset=PARAGRAPHS,
                question=f"what is seen {rank}",
                options=tuple(seen[i] for i in order),
                answer_idx=order.index(place),
                answer=seen[place],
                qtype=rank,
            )
        )
    return samples


def seen_questions(clip: Clip, split: str) -> list[Sample]:
    """What is seen? For each of the four things, beside one in each colour that the video never shows.

    All options have different colours, so that they tell nothing without the video: chance is 1/3.
    """
    import numpy as np

    shown = {thing.colour for frame in clip.frames for thing in frame}
    unseen = [colour for colour in COLOURS if colour not in shown]
    samples = []
    for place, answer in enumerate(clip.facts["sentences"]):
        rng = np.random.default_rng(draw_seed(0, place, f"{split}/{clip.clip_id}", "shapes seen options"))
        options = [answer, *(f"a {colour} {rng.choice(SHAPES)}" for colour in unseen)]
        order = [int(i) for i in rng.permutation(len(options))]
        samples.append(
            _sample(
                clip,
                split,
                f"{clip.clip_id}_seen{place}",
                "mc_qa",
                dataset=PARAGRAPHS,
                question="what is seen",
                options=tuple(options[i] for i in order),
                answer_idx=order.index(0),
                answer=answer,
                qtype=answer.split()[2],
            )
        )
    return samples


def sentence(clip: Clip) -> str:
    """What happens in the clip, in one sentence."""
    facts = clip.facts
    if clip.kind == "direction":
        way = {"left": "to the left", "right": "to the right"}.get(facts["direction"], facts["direction"])
        return f"a {facts['colour']} {facts['shape']} moves {way}"
    if clip.kind == "still":
        return f"a {facts['colour']} {facts['shape']} stands still"
    if clip.kind in ("order", "neighbours"):
        return f"a {facts['shape']} appears in {', then '.join(facts['colours'])}"
    if clip.kind == "count":
        return f"a {facts['colour']} {facts['shape']} turns white {facts['times']} times"
    if clip.kind == "while":
        return f"a circle is {facts['answer']} while a square turns white"
    if clip.kind == "hit":
        return f"a {facts['mover']} {facts['shape']} hits a {facts['answer']} one"
    if clip.kind == "vanish":
        return f"a {facts['answer']} thing vanishes"
    if clip.kind == one_moment.KIND:
        return f"a {facts['answer']} cross flashes up"
    return f"a white cross flashes at the {facts['answer']}"


TASKS: dict[str, Callable[[Clip, str], list[Sample]]] = {
    "multiple_choice": multiple_choice,
    "open_ended": open_ended,
    "caption": captions,
    "classification": classes,
    "moments": moments,
    "subtitled": subtitled,
    "dialogue": dialogue,
    "conversation": conversation,
    "textual_video": textual_video,
}


def _sample(clip: Clip, split: str, native: str, task: str, *, dataset: str = DATASET, **values: Any) -> Sample:
    media = Media(
        kind="video",
        video_id=clip.clip_id,
        path=f"{clip.clip_id}.mp4",
        fps=float(FPS),
        duration_seconds=len(clip.frames) / FPS,
    )
    return Sample(uid=f"{dataset}/{split}/{native}", dataset=dataset, split=split, task=task, media=media, **values)


def _fields(sample: Sample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in sample.__dataclass_fields__}
