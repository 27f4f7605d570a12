"""Caption metrics: tokens of the COCO toolkit without Java, BLEU, ROUGE-L, CIDEr, what is left out.

Expected tokens were written down from the output of the toolkit's own program (CoreNLP 3.4.1, Java 17).
"""

import math

import pytest

from vidalign.common.errors import DataError
from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring import meteor
from vidalign.scoring.caption import bleu, caption_metrics, caption_scores, cider_each, rouge_l
from vidalign.scoring.ptb import tokenize

INFO = DatasetInfo(name="msrvtt", task="caption", headline="cider")


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A man is riding a red bike.", "a man is riding a red bike"),
        ("it's john's dogs' toys, isn't it? can't cannot", "it 's john 's dogs toys is n't it ca n't can not"),
        ("a man (in red) walks [fast] {now}.", "a man -lrb- in red -rrb- walks -lsb- fast -rsb- -lcb- now -rcb-"),
        ("mr. smith of elm st. in the u.s. at 5 p.m. today.", "mr. smith of elm st. in the u.s. at 5 p.m. today"),
        ("a vitamin c. next, plan b.", "a vitamin c. next plan b."),
        ("and/or 1/2 3.5 1,000 10:30 $5.00 50% #1 AT&T at&t", "and/or 1/2 3.5 1,000 10:30 $ 5.00 50 % # 1 at&t at & t"),
        ("t-shirt mother-in-law - -- --- wait.... what?! !!!", "t-shirt mother-in-law wait what ?! !!!"),
        (
            "gonna wannabe 'tis o'clock rock'n'roll y'all ma'am",
            "gon na wannabe 't is o'clock rock 'n' roll y' all ma'am",
        ),
        ("“smart” ‘single’ it’s don’t café", "smart single it 's do n't café"),
        ("ten :-) 2 1/2 cups dogs., no. 5 no.", "ten :--rrb- 2\u00a01/2 cups dogs. no. 5 no"),
        ("10:30pm 4-year-old '80s kids' 5'10\"", "10:30 pm 4-year-old '80s kids 5 10"),
        ("£5 €10 1½ cups http://x.org/a?b=c", "# 5 $ 10 1 1/2 cups http://x.org/a?b=c"),
        ("", ""),
        ("wait ... stop!", "wait stop"),
        (" two\nlines\rand\u2028more ", "two lines and more"),
        ("a 😀 b", "a b"),
    ],
)
def test_tokens_of_the_toolkit(caption, tokens):
    assert tokenize([caption]) == [tokens]


def test_captions_are_read_as_one_text():
    # An initial ends a sentence when the next caption begins with "The"; a number keeps the full stop of "no.".
    assert tokenize(["plan b.", "The end", "no.", "5 men", "plan b.", "the end"]) == [
        "plan b", "the end", "no.", "5 men", "plan b.", "the end",
    ]  # fmt: skip


def test_scores_by_hand():
    pairs = [("a b c d", ["a b c d"]), ("a b x", ["a b c", "z"])]
    # 6 of 7 words, 4 of 5 pairs, 2 of 3 triples, 1 of 1 four words; both are as long as their closest reference.
    expected = [
        6 / 7,
        (6 / 7 * 4 / 5) ** (1 / 2),
        (6 / 7 * 4 / 5 * 2 / 3) ** (1 / 3),
        (6 / 7 * 4 / 5 * 2 / 3) ** (1 / 4),
    ]
    assert bleu(pairs) == pytest.approx(expected, abs=1e-6)
    assert rouge_l("a b x", ["a b c", "z"]) == pytest.approx(2 / 3)
    assert rouge_l("", ["a"]) == 0.0 and rouge_l("", [""]) == 1.0
    first, second = cider_each(pairs)
    assert first == pytest.approx(10.0)
    # Weights are log 2 for n-grams of one video; of "a b x" three words, "a" and "b" occur in both videos: weight 0.
    assert second == pytest.approx(0.0) and cider_each(pairs[:1]) == [0.0]
    assert bleu([("a", ["a b c"])])[0] == pytest.approx(math.exp(1 - 3), abs=1e-6)


def test_empty_captions_and_failures_count(monkeypatch):
    monkeypatch.setattr(meteor.shutil, "which", lambda name: None)
    texts = {"1": ("a man runs fast",) * 20, "2": ("a dog sleeps here",), "3": (), "4": ("cats play in snow",)}
    samples = [Sample(uid=u, dataset="msrvtt", split="test", task="caption", answers=t) for u, t in texts.items()]
    records = [
        Record(uid="2", pred_text=""),
        Record(uid="1", pred_text="A man runs fast."),
        Record(uid="3", pred_text="unlabelled"),
        Record(uid="4", status="failed", reason="no file", pred_text="cats play in snow"),
    ]
    metrics = caption_metrics(records, samples, INFO)
    assert {key: metrics[key] for key in ("samples", "scored", "failed", "empty")} == {
        "samples": 4, "scored": 3, "failed": 1, "empty": 1,
    }  # fmt: skip
    assert metrics["rouge_l"] == pytest.approx(1 / 3) and metrics["cider"] == pytest.approx(10 / 3)
    assert metrics["cider_low"] <= metrics["cider"] <= metrics["cider_high"] <= 10.0
    assert "meteor" not in metrics and "no java" in metrics["left_out"] and "SPICE" in metrics["left_out"]
    unlabelled = caption_metrics(records[2:3], samples[2:3], INFO)
    assert unlabelled == {"samples": 1, "scored": 0, "failed": 0, "empty": 0}


def test_meteor_says_why_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(meteor.shutil, "which", lambda name: "java")
    monkeypatch.setattr(meteor.util, "find_spec", lambda name: None)
    assert "pip install pycocoevalcap" in meteor.find_meteor()[1]
    with pytest.raises(DataError, match=r"task\.meteor_jar"):
        meteor.find_meteor(tmp_path / "meteor-1.5.jar")
    (tmp_path / "meteor-1.5.jar").write_bytes(b"no jar")
    assert meteor.find_meteor(tmp_path / "meteor-1.5.jar") == (tmp_path / "meteor-1.5.jar", None)


@pytest.mark.skipif(meteor.shutil.which("java") is None, reason="no java")
def test_a_broken_meteor_is_an_error(tmp_path):
    (tmp_path / "meteor-1.5.jar").write_bytes(b"no jar")
    with pytest.raises(DataError, match=r"task\.meteor"):
        meteor.meteor([("a", ["a"])], jar=tmp_path / "meteor-1.5.jar")


def test_ids_must_fit():
    with pytest.raises(DataError, match="'b'"):
        caption_scores({"a": ["x"]}, {"a": "x", "b": "y"})
    with pytest.raises(DataError, match="no reference"):
        caption_scores({"a": []}, {"a": "x"})
