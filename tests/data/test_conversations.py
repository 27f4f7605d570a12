"""Conversations in LLaVA's form, the share of stage one, and batches of texts of similar length."""

import json

import pytest

from vidalign.common.errors import DataError
from vidalign.common.sample import Media, Sample
from vidalign.data.length_sampler import LengthGroupedSampler, signed_length
from vidalign.data.sets.config import ConversationConfig
from vidalign.data.sets.conversations import Conversations, Valley, VideoChatGPTTune


def turns(*texts, first="human"):
    speakers = ("human", "gpt") if first == "human" else ("gpt", "human")
    return [{"from": speakers[number % 2], "value": text} for number, text in enumerate(texts)]


def written(folder, rows, name="train_json/valley_.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return folder


def test_rows_become_samples(tmp_path):
    rows = [
        {"id": 7, "video": "valley/x.mp4", "conversations": turns("what?\n<video>", "a cat")},
        {"id": 7, "image": "i.jpg", "conversations": turns("dropped", "<image>\nwhat?", "a cup", first="gpt")},
        {"id": 7, "conversations": turns("only words?", "yes", "more?", "no")},
    ]
    root = written(tmp_path, rows)
    first, second, third = Valley(ConversationConfig(root=str(root))).samples("train")
    assert (first.uid, first.media.path, first.media.kind) == ("valley/train/0", "valley/x.mp4", "video")
    assert second.texts == ("<image>\nwhat?", "a cup") and second.media.kind == "frames"
    assert third.media is None and third.texts == ("only words?", "yes", "more?", "no")
    assert Valley(ConversationConfig(root=str(root))).media_root == root


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"conversations": turns("a", "b"), "video": "x", "image": "y"}, "not both"),
        ({"conversations": [*turns("a"), *turns("b")]}, "turn 2 is not of 'gpt'"),
        ({"conversations": "hello"}, "a list of turns"),
        ({"conversations": turns("x", first="gpt")}, "it has no question"),
        ({"conversations": [{"from": "human", "value": None}]}, "text expected"),
        ({"video": "x"}, "no field 'conversations'"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, told):
    root = written(tmp_path, [row], "train.json")
    with pytest.raises(DataError, match=told):
        Conversations(ConversationConfig(root=str(root))).samples("train")


def test_half_of_the_rows_is_one_fixed_shuffle(tmp_path):
    rows = [{"video": f"{n}.mp4", "conversations": turns("q", "a")} for n in range(40)]
    root = written(tmp_path, rows, "videochatgpt_tune_.json")

    def chosen(share):
        return [one.uid for one in VideoChatGPTTune(ConversationConfig(root=str(root), share=share)).samples("train")]

    half = chosen(0.5)
    assert len(half) == 20 and half == chosen(0.5) and half != chosen(1.0)[:20] and set(half) < set(chosen(1.0))


def sample(words, video=True):
    media = Media(kind="video", video_id="v", path="v") if video else None
    return Sample(uid="u", dataset="d", split="s", task="dialogue", media=media, texts=("w " * words, "yes"))


def test_lengths_are_words_signed_by_kind():
    assert signed_length(sample(4)) == -5 and signed_length(sample(4, video=False)) == 5


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("mixed", [False, True])
def test_every_rank_gets_full_batches_and_all_samples_come(world, mixed):
    lengths = [(-1) ** (number * mixed) * (1 + number % 30) for number in range(97)]
    samplers = [LengthGroupedSampler(lengths, batch_size=4, rank=rank, world=world) for rank in range(world)]
    batches = [list(one) for one in samplers]
    assert {len(one) for one in batches} == {len(samplers[0])} and all(len(b) == 4 for one in batches for b in one)
    seen = {index for one in batches for batch in one for index, _ in batch}
    assert len(seen) == 97 if not mixed else len(seen) >= 97 - 2 * 4 * world
    if mixed:
        assert all(len({lengths[index] > 0 for index, _ in batch}) == 1 for one in batches for batch in one)
    assert samplers[0].order() == samplers[0].order()


def test_it_goes_on_where_it_was():
    sampler = LengthGroupedSampler(list(range(1, 41)), batch_size=4, seed=3)
    batches = list(sampler)
    sampler.consume(12)
    again = LengthGroupedSampler(list(range(1, 41)), batch_size=4, seed=3)
    again.load_state_dict(sampler.state_dict())
    assert list(again) == batches[3:] and again.consumed_batches == 3
