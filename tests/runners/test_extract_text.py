"""Captions -> CLIP text features -> the frames that TOPA trains on; resuming, memory, mistakes."""

import gzip
import json

import pytest
import torch
import torch.nn.functional as F

from vidalign.backbones.clip_text import load_clip_text, tiny_clip_text, tiny_ids
from vidalign.backbones.tiny_clip import TinyCLIP
from vidalign.common.errors import ConfigError, DataError
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.textvid import TextVid
from vidalign.media.arrays import open_matrix
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec
from vidalign.models.topa.cross_modal import SupportMemory
from vidalign.runners.extract_text import extract_texts, ids_of, read_captions, write_memory
from vidalign.text.tokenizers import tiny_tokenizer

DIM = 8
QUESTION = {"question": "q", "options": ["a", "b"], "answer": "A"}
ROWS = [
    {"idx": 3, "frames": [{"caption": "a man", "object": "a hat"}, {"caption": "he runs"}],
     "global_video_caption": "g", "QAs": [QUESTION]},
    {"idx": "x", "frames": [{"caption": "two dogs " * 20}], "global_video_caption": "g", "QAs": [QUESTION]},
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder():
    return tiny_clip_text(DIM)


def extract(entries, folder, encoder):
    return extract_texts(entries, encoder=encoder, ids=tiny_ids, store=folder, batch_captions=2, progress=False)


def test_textvid_captions_become_the_frames_of_a_run(tmp_path, encoder):
    (tmp_path / "textvid.json").write_text(json.dumps(ROWS))
    entries = read_captions(tmp_path / "textvid.json")
    assert [name for name, _ in entries] == ["3", "x"] and entries[0][1] == ("a man", "a hat", "he runs")
    report = extract(entries, tmp_path / "features", encoder)
    assert (report.done, report.captions, report.skipped, report.cut) == (2, 4, 0, 1)
    store = FeatureStore.open(tmp_path / "features")
    rows = store.rows("3").float()
    alone = torch.cat([encoder([tiny_ids(text)]) for text in entries[0][1]])
    torch.testing.assert_close(rows, alone, atol=2e-3, rtol=2e-3)

    (sample, _) = TextVid(DatasetConfig(root=str(tmp_path), features="features")).samples("train")
    loaded = MediaLoader(MediaSpec(kind="features", num_frames=3, feature_dim=DIM), features=store).load(sample)
    first = F.normalize(F.normalize(rows[:2], dim=-1).mean(0), dim=-1)
    torch.testing.assert_close(loaded.tensor[0], first, atol=2e-3, rtol=2e-3)  # frames are made in half precision
    assert loaded.length == 2 and not loaded.tensor[2].any()


def test_going_on_and_changed_captions(tmp_path, encoder):
    entries = [("1", ("a", "b")), ("2", ("c",))]
    assert extract(entries[:1], tmp_path / "s", encoder).done == 1
    report = extract(entries, tmp_path / "s", encoder)
    assert (report.done, report.skipped) == (1, 1)
    changed = [("1", ("a", "other", "b")), entries[1]]
    assert extract(changed, tmp_path / "s", encoder).done == 1
    assert len(FeatureStore.open(tmp_path / "s").rows("1")) == 3
    with pytest.raises(DataError, match="made with"):
        extract(entries, tmp_path / "s", tiny_clip_text(DIM, seed=1))


def test_memory(tmp_path, encoder):
    extract([("b", ("one", "two")), ("a", ("three",))], tmp_path / "s", encoder)
    assert write_memory(tmp_path / "s", tmp_path / "m" / "memory.npy", rows=2, progress=False) == 2
    memory = open_matrix(tmp_path / "m" / "memory.npy")
    store = FeatureStore.open(tmp_path / "s")
    wanted = F.normalize(torch.cat([store.rows("a"), store.rows("b")]).float(), dim=-1)[:2]
    torch.testing.assert_close(memory, wanted)
    used = SupportMemory(tmp_path / "m" / "memory.npy", width=DIM).project(torch.randn(2, DIM))
    assert used.shape == (2, DIM) and not list((tmp_path / "m").glob(".*"))
    with pytest.raises(DataError, match=r"\.npy"):
        write_memory(tmp_path / "s", tmp_path / "memory.pkl", progress=False)


def test_json_lines_of_all_forms(tmp_path):
    lines = [
        {"id": "1", "captions": "one text"},
        {"id": "2", "captions": ["a", "b"]},
        {"id": "3", "frames": ["a", "b"]},
        {"idx": 4, "frames": [["a", "b"], ["c"]]},
        {"idx": 5, "frames": [{"x": "a"}, {"x": "b", "y": "c"}]},
        {"uid": "d/train/6", "text_frames": [["a"], ["b"]]},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [texts for _, texts in read_captions(path)] == [
        ("one text",), ("a", "b"), ("a", "b"), ("a", "b", "c"), ("a", "b", "c"), ("a", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"id": "1"}, "no field 'frames'"),
        ({"captions": ["a"]}, "no field 'idx'"),
        ({"id": "1", "captions": []}, "list of captions"),
        ({"id": "1", "frames": [["a"], []]}, "at least one caption"),
        ({"id": "1", "captions": [["a"], None]}, "text expected"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, told):
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(DataError, match=told):
        read_captions(path)
    path.write_text('{"id": "1", "captions": ["a"]}\n' * 2)
    with pytest.raises(DataError, match="line 2.*twice"):
        read_captions(path)


def test_tiny_towers_are_the_same_and_padding_does_not_matter(encoder):
    long = encoder([tiny_ids("a man"), tiny_ids("a man in a street")])
    torch.testing.assert_close(long[:1], encoder([tiny_ids("a man")]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(long, tiny_clip_text(DIM)([tiny_ids("a man"), tiny_ids("a man in a street")]))
    assert ids_of("tiny")("a") == [97, 256]


def test_a_folder_that_is_no_clip_model(tmp_path):
    with pytest.raises(ConfigError, match="not a folder"):
        load_clip_text(str(tmp_path))
    with pytest.raises(ConfigError, match="tokenizer"):
        ids_of(str(tmp_path))


def test_the_tiny_clip_of_shapes_reads_by_its_own_tokenizer(tmp_path):
    tokenizer = tiny_tokenizer(tmp_path)
    clip = TinyCLIP(tokenizer.vocab_size, dim=DIM, generator=torch.Generator().manual_seed(0))
    clip.save(tmp_path / "clip")
    (tmp_path / "clip" / "text.json").write_text(
        json.dumps({"tokenizer": f"../{tokenizer.path.name}", "end_id": clip.end_id})
    )
    texts = ["a red circle", "a blue square moves up"]
    encoder, ids = load_clip_text(str(tmp_path / "clip")), ids_of(str(tmp_path / "clip"))
    with torch.no_grad():
        wanted = clip.texts([tokenizer.encode(text) for text in texts])
    torch.testing.assert_close(encoder([ids(text) for text in texts]), wanted, atol=1e-5, rtol=1e-4)


def test_clip_reads_with_its_own_tokenizer(tmp_path, shared):
    packed = (shared / "data" / "tokenizers" / "clip" / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    merges = gzip.decompress(packed).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(one + "</w>" for one in letters), *("".join(one.split()) for one in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: place for place, piece in enumerate(pieces)}))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    # The ids of OpenAI's `clip.tokenize("a photo of a cat")`.
    assert ids_of(str(tmp_path))("A photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407]


def bytes_to_unicode():
    """OpenAI's table: printable bytes stand for themselves, the others for signs from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
