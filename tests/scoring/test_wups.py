"""WUPS with a small lexicon in place of WordNet."""

import pytest

from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.scoring import exact_match
from vidalign.scoring.intervals import bootstrap_mean, macro
from vidalign.scoring.wups import AS_NOUNS, NEEDED, Words, official_numbers, prepare, wordnet, wups, wups_numbers

_ALIKE = {frozenset(("dog", "cat")): 0.8, frozenset(("dog", "puppy")): 0.95}
WORDS = Words(
    lambda a, b: _ALIKE.get(frozenset((a, b)), 0.0),
    lambda words: [word.rstrip("s") for word in words],
    frozenset({"the", "a", "was"}),
)


def sample(native: str, kind: str, *answers: str) -> Sample:
    return Sample(
        uid=f"nextqa_oe/val/{native}", dataset="nextqa_oe", split="val", task="open_qa", answers=answers, qtype=kind
    )


@pytest.mark.parametrize(
    ("predicted", "true", "at_0", "at_9"),
    [
        ("dog", "dog", 1.0, 1.0),
        ("dog", "cat", 0.8, 0.08),
        ("puppy", "dog", 0.95, 0.95),
        ("dog cat", "dog", 0.8, 0.08),  # the other direction finds dog alone
        ("dog stone", "dog", 1.0, 1.0),  # a word like no other is skipped
        ("stone", "dog", 0.0, 0.0),
        ("", "dog", 0.0, 0.0),
    ],
)
def test_two_answers(predicted, true, at_0, at_9):
    for threshold, expected in ((0.0, at_0), (0.9, at_9)):
        assert wups(predicted, true, similarity=WORDS.similarity, threshold=threshold) == pytest.approx(expected)


def test_a_split():
    assert prepare("The dogs", WORDS) == "dog" and prepare("was the t-shirts, a", WORDS) == "t-shirt ,"
    samples = [
        sample("1_0", "CW", "cat", "dog"),
        sample("1_1", "TP", "dog"),
        sample("1_2", "DC", "2"),
        sample("1_3", "DB", "yes"),
    ]
    texts = ["the dog", "stone", "2", None]
    records = [
        Record(uid=s.uid, pred_text=t, status="ok" if t else "failed") for s, t in zip(samples, texts, strict=True)
    ]
    found = wups_numbers(records, samples, words=WORDS)["WUPS@0"]
    assert (found["CW"], found["TN"], found["DC"], found["DB"]) == (100.0, 0.0, 100.0, 0.0), "the best reference counts"
    assert (found["C"], found["T"], found["D"], found["all"]) == (100.0, 0.0, 50.0, 50.0)
    assert found["all_low"] < 50 < found["all_high"]


@pytest.fixture
def _nltk(monkeypatch):
    """nltk without any data of its own."""
    data = pytest.importorskip("nltk").data
    wordnet.cache_clear()
    monkeypatch.setattr(data, "path", [])
    yield data
    wordnet.cache_clear()


def test_what_is_missing_is_told():
    samples = [sample("1_0", "CW", "cat")]
    records = [Record(uid=samples[0].uid, pred_text="dog")]
    wordnet.cache_clear()
    numbers = official_numbers(records, samples)
    assert numbers.get("note", NEEDED).startswith(NEEDED) and "NLTK_DATA" in NEEDED


def test_a_small_wordnet(tmp_path, _nltk):
    """The six animals below in WordNet's own files."""
    write_wordnet(tmp_path / "corpora")
    _nltk.path.append(str(tmp_path))
    words = wordnet()
    assert words.how == AS_NOUNS and prepare("The dogs", words) == "dog"
    # Wu and Palmer: twice the depth of the lowest common ancestor by the sum of both depths; the root has depth 1.
    assert words.similarity("dog", "cat") == pytest.approx(2 * 3 / (4 + 4))
    assert words.similarity("dog", "puppy") == pytest.approx(2 * 4 / (4 + 5))
    assert words.similarity("dog", "stone") == pytest.approx(2 * 1 / (4 + 2))
    assert words.similarity("dog", "nothing") == 0.0
    found = wups_numbers([Record(uid="nextqa_oe/val/1", pred_text="a cat")], [sample("1", "CW", "dogs")], words=words)
    assert (found["WUPS@0"]["CW"], found["WUPS@0.9"]["CW"], found["lemmas"]) == (75.0, 7.5, AS_NOUNS)


# child -> parent; written down from the top
TREE = {"entity": None, "stone": "entity", "animal": "entity", "carnivore": "animal", "dog": "carnivore"}
TREE |= {"cat": "carnivore", "puppy": "dog"}


def write_wordnet(corpora):
    """data.noun and index.noun in WordNet's format (wndb(5WN)), the other parts of speech empty, one stop word."""
    folder = corpora / "wordnet"
    folder.mkdir(parents=True)
    (corpora / "stopwords").mkdir()
    (corpora / "stopwords" / "english").write_text("a\nthe\n")
    children = {parent: [c for c, p in TREE.items() if p == parent] for parent in TREE}

    def line(name, places):
        pointers = [("@", TREE[name])] if TREE[name] else []
        pointers += [("~", child) for child in children[name]]
        shown = "".join(f" {sign} {places.get(other, 0):08d} n 0000" for sign, other in pointers)
        return f"{places.get(name, 0):08d} 03 n 01 {name} 0 {len(pointers):03d}{shown} | a {name}  \n"

    places, offset = {}, 0
    for name in TREE:
        places[name] = offset
        offset += len(line(name, {}))
    for kind in ("noun", "verb", "adj", "adv"):
        (folder / f"data.{kind}").write_text("".join(line(name, places) for name in TREE) if kind == "noun" else "")
        index = "".join(f"{name} n 1 2 @ ~ 1 0 {places[name]:08d}  \n" for name in sorted(TREE))
        (folder / f"index.{kind}").write_text(index if kind == "noun" else "")
        (folder / f"{kind}.exc").write_text("")
    (folder / "index.sense").write_text("")
    (folder / "cntlist.rev").write_text("")
    (folder / "lexnames").write_text("".join(f"{n:02d}\tnoun.x\t1\n" for n in range(45)))


def test_exact_match_and_counts():
    info = exact_match.DatasetInfo(name="tgif_qa", task="open_qa")
    samples = [
        Sample(uid=f"t/test/{i}", dataset="t", split="test", task="open_qa", answer=str(n), label=float(n))
        for i, n in enumerate((3, 9, 2, 10))
    ]
    texts = ["3.4", "nonsense", "99", "10"]
    records = [Record(uid=s.uid, pred_text=t) for s, t in zip(samples, texts, strict=True)]
    found = exact_match.count_metrics(records, samples, info)
    assert found["mse"] == (0 + 64 + 64 + 0) / 4 and found["accuracy"] == 0.5
    assert exact_match.exact_match_metrics(records, samples, info)["accuracy"] == 0.25, "10 alone is the same text"
    assert exact_match.counted(Record(uid="x", pred_text="-4")) == 1
    assert {exact_match.counted(Record(uid="x", pred_text=text)) for text in ("inf", "-Infinity", "nan")} == {None}


def test_intervals():
    assert bootstrap_mean([]) == (0.0, 1.0) and bootstrap_mean([0.5] * 9) == (0.5, 0.5)
    low, high = bootstrap_mean([0.0, 1.0] * 50)
    assert 0.38 < low < 0.5 < high < 0.62 and (low, high) == bootstrap_mean([0.0, 1.0] * 50)
    low, high = macro([(0, 5), (5, 5)])
    assert 0.2 < low < 0.5 < high < 0.8
