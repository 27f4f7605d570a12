"""Judges of open-ended answers: replies, a local HTTP endpoint, recorded replies, items and metrics."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vidalign.common.errors import ConfigError, DataError
from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.registry import JUDGES
from vidalign.runners.folder import closing_table
from vidalign.scoring.judge import Item, judge_metrics, read_verdict
from vidalign.scoring.judge_chat import ChatJudge, Reply, ReplyStore
from vidalign.scoring.judge_config import JudgeConfig
from vidalign.scoring.judge_http import HttpChat
from vidalign.scoring.judge_items import judged
from vidalign.scoring.judge_offline import RecordedJudge

YES, NO, ODD = "{'pred': 'yes', 'score': 4.8}", "{'pred': 'no', 'score': 1}", "Sure! {'pred': 'yes', 'score': 5}"
KEY_ENV = "VIDALIGN_TEST_JUDGE"


def item(uid, pred="a cat", protocol="open_ended"):
    return Item(uid, {"q": "what is it?", "a": "a cat", "pred": pred}, protocol)


class Endpoint(HTTPServer):
    """Answers POST /v1/chat/completions with the next of `replies`: a text, or an HTTP status."""

    def __init__(self, replies):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies, self.seen = list(replies), []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))
        reply = self.server.replies.pop(0)
        self.send_response(reply if isinstance(reply, int) else 200)
        self.end_headers()
        message = {"model": "judge-2024-01", "choices": [{"message": {"content": reply}}]}
        self.wfile.write(json.dumps(message if isinstance(reply, str) else {"error": "no"}).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    made = []
    monkeypatch.setenv(KEY_ENV, "not-a-real-key")

    def start(*replies):
        made.append(Endpoint(replies))
        return made[-1]

    yield start
    for one in made:
        one.shutdown()
        one.server_close()


def http_judge(server, store, **values):
    ask = HttpChat(server.url, "judge", key_env=KEY_ENV, pause_seconds=0.01, **values)
    return ChatJudge("judge", ask, store=ReplyStore(store), attempts=3)


def test_http_judge_sends_the_official_messages_and_keeps_raw_replies(endpoint, tmp_path):
    server = endpoint(YES, NO)
    verdicts = http_judge(server, tmp_path / "judge.jsonl").judge([item("1"), item("2", "a dog")])
    assert [(one.correct, one.score) for one in verdicts] == [(True, 4.0), (False, 1.0)]
    path, authorization, body = server.seen[0]
    assert path == "/v1/chat/completions" and authorization == "Bearer not-a-real-key"
    assert body == {"model": "judge", "messages": item("1").messages}
    kept = [json.loads(line) for line in (tmp_path / "judge.jsonl").read_text().splitlines()]
    assert [(row["uid"], row["reply"], row["source"]) for row in kept] == [
        ("1", YES, "judge-2024-01"),
        ("2", NO, "judge-2024-01"),
    ]
    assert len({row["key"] for row in kept}) == 2 and "not-a-real-key" not in (tmp_path / "judge.jsonl").read_text()


def test_busy_endpoint_is_asked_again(endpoint, tmp_path):
    server = endpoint(429, 503, YES)
    assert http_judge(server, tmp_path / "judge.jsonl").judge([item("1")])[0].correct and len(server.seen) == 3


def test_unreadable_replies_are_asked_for_a_bounded_number_of_times(endpoint, tmp_path):
    server = endpoint(ODD, "what?", ODD, YES)
    judge = http_judge(server, tmp_path / "judge.jsonl")
    [verdict] = judge.judge([item("1")])
    assert not verdict.parsed and verdict.reply == ODD and len(server.seen) == 3
    again = http_judge(server, tmp_path / "judge.jsonl")
    assert not again.judge([item("1")])[0].parsed and len(server.seen) == 3, "attempts count over runs"
    metrics = judge_metrics("judge", [verdict])
    assert metrics["unparsed_judge"] == 1 and metrics["judged_judge"] == 0
    lenient = ChatJudge("judge", judge.ask, store=judge.store, lenient=True)
    assert lenient.judge([item("1")])[0].score == 5 and lenient.name == "judge-lenient"


def test_broken_off_judgement_goes_on_where_it_stopped(endpoint, tmp_path):
    server = endpoint(YES, 500, 500)
    with pytest.raises(DataError, match="did not answer 2 times"):
        http_judge(server, tmp_path / "judge.jsonl", tries=2).judge([item("1"), item("2", "a dog")])
    with open(tmp_path / "judge.jsonl", "a") as file:
        file.write('{"uid": "2", "key"')  # a line that a crash tore
    more = endpoint(NO)
    verdicts = http_judge(more, tmp_path / "judge.jsonl").judge([item("1"), item("2", "a dog")])
    assert [one.correct for one in verdicts] == [True, False] and len(more.seen) == 1


def test_refusals_and_missing_keys_are_told(endpoint, tmp_path, monkeypatch):
    server = endpoint(401)
    with pytest.raises(ConfigError, match="refuses the request .HTTP 401"):
        http_judge(server, tmp_path / "a.jsonl").judge([item("1")])
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(ConfigError, match=f"environment variable {KEY_ENV} is not set"):
        http_judge(server, tmp_path / "b.jsonl").judge([item("1")])


def test_recorded_replies_are_read_by_uid(tmp_path):
    lines = [{"uid": "1", "reply": YES, "source": "gpt-x"}, {"uid": "2", "reply": ODD, "source": "gpt-x"}]
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    judge = JUDGES.load("recorded")(JudgeConfig(name="recorded", path=str(path)))
    verdicts = judge.judge([item("1"), item("2"), item("3")])
    assert judge.name == "recorded-gpt-x" and [one.parsed for one in verdicts] == [True, False, False]
    path.write_text("not json\n")
    with pytest.raises(DataError, match="line 1"):
        RecordedJudge(path)


def test_a_kept_file_is_replayed_by_what_was_asked(endpoint, tmp_path):
    """Equal questions were asked once, under one uid; another run gave other answers to the same uids."""
    path, same = tmp_path / "judge.jsonl", [item(f"{n}") for n in range(3)]
    assert [one.correct for one in http_judge(endpoint(YES), path).judge(same)] == [True] * 3
    assert http_judge(endpoint(NO), path).judge([item("1", "a dog")])[0].correct is False
    replay = RecordedJudge(path)
    assert [one.correct for one in replay.judge(same)] == [True] * 3
    assert [one.correct for one in replay.judge([item("7", "a dog"), item("1", "a bird")])] == [False, None]
    old = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "model"}) + "\n" for row in old))
    assert RecordedJudge(path).judge(same)[0].correct


def test_replies_behind_a_torn_line_are_kept(endpoint, tmp_path):
    path = tmp_path / "judge.jsonl"
    http_judge(endpoint(YES), path).judge([item("1")])
    path.write_text(path.read_text().rstrip("\n"))
    http_judge(endpoint(), path).judge([item("1")])
    with open(path, "a") as file:
        file.write('{"uid": "2", "reply": "{\'pred\': \'yes\'}')
    http_judge(endpoint(NO), path).judge([item("2", "a dog")])
    server = endpoint()
    assert [one.correct for one in http_judge(server, path).judge([item("1"), item("2", "a dog")])] == [True, False]
    assert not server.seen


@pytest.mark.parametrize(("name", "right"), [("exact", [True, False]), ("contained", [True, True])])
def test_offline_judges(name, right):
    judge = JUDGES.load(name)(JudgeConfig(name=name))
    items = [item("1", "A cat."), item("2", "it is a cat, I think")]
    assert judge.name == name and [one.correct for one in judge.judge(items)] == right


def test_store_is_named_by_the_model(tmp_path):
    judge = JUDGES.load("http")(JudgeConfig(name="http", model="org/gpt 3.5", store=str(tmp_path)))
    assert judge.name == "org/gpt 3.5" and judge.store.path == tmp_path / "org_gpt_3.5.jsonl"


def test_scores_are_cut_and_aspects_ask_for_no_verdict():
    assert read_verdict("1", "{'score': 4.8}", protocol="detail").score == 4.0
    assert not read_verdict("1", "{''score': 4.8}", protocol="detail").parsed
    assert not read_verdict("1", "{'pred': 'yes'}", protocol="open_ended").parsed


class Echo:
    """Remembers what it was asked; every answer is right with 3."""

    name = "echo"

    def __init__(self):
        self.items = []

    def judge(self, items):
        self.items += items
        return [read_verdict(one.uid, "{'pred': 'yes', 'score': 3}", protocol=one.protocol) for one in items]


def question(uid, split, question="what?", **meta):
    return Sample(uid=uid, dataset="x", split=split, task="open_qa", question=question, answer="a cat", meta=meta)


def test_metrics_carry_the_judges_name_and_count_the_skipped():
    samples = [question(str(number), "test") for number in range(3)]
    records = [Record(uid="0", pred_text="a cat"), Record(uid="1", pred_text="x"), Record(uid="2", status="failed")]
    metrics = judged(Echo(), records, samples, DatasetInfo(name="msvd_qa", task="open_qa"))
    assert metrics.pop("accuracy_echo_low") < 1.0 == metrics.pop("accuracy_echo_high")
    assert metrics.pop("accuracy_all_echo") == pytest.approx(2 / 3), "the failed one is wrong"
    assert metrics == {"accuracy_echo": 1.0, "score_echo": 3.0, "judged_echo": 2, "unparsed_echo": 0, "skipped_echo": 1}


def test_video_chatgpt_is_judged_by_its_aspects():
    info, judge = DatasetInfo(name="video_chatgpt", task="open_qa"), Echo()
    generic = [question("a", "generic")]
    metrics = judged(judge, [Record(uid="a", pred_text="p")], generic, info)
    assert {"correctness_echo", "detail_echo", "context_echo"} <= metrics.keys() and metrics["detail_echo"] == 3.0
    pair = [
        question("v_0_1", "consistency", "first?", pair="v_0"),
        question("v_0_2", "consistency", "second?", pair="v_0"),
    ]
    judge.items.clear()
    metrics = judged(judge, [Record(uid="v_0_1", pred_text="p1"), Record(uid="v_0_2", pred_text="p2")], pair, info)
    [one] = judge.items
    assert metrics["consistency_echo"] == 3.0 and one.uid == "v_0"
    assert one.fields == {"q1": "first?", "q2": "first?", "a": "a cat", "pred1": "p1", "pred2": "p2"}


def test_answers_with_braces_are_put_in_as_they_are():
    assert "{q} {}" in item("1", "{q} {}").messages[1]["content"]


def test_one_odd_reply_costs_nobody_else(tmp_path):
    asked = []

    def ask(messages):
        asked.append(messages)
        return Reply(YES if "a cat\nPredicted Answer: a cat" in messages[1]["content"] else ODD)

    judge = ChatJudge("j", ask, store=ReplyStore(tmp_path / "j.jsonl"), attempts=2, parallel=3)
    verdicts = judge.judge([item("1"), item("2", "dog"), item("3")])
    assert [one.parsed for one in verdicts] == [True, False, True] and len(asked) == 3


def test_a_reply_is_kept_at_once_also_behind_a_slow_request_and_beside_a_failure(tmp_path):
    """A process that is killed while the first request hangs has lost no reply of the others."""
    path = tmp_path / "j.jsonl"

    def ask(messages):
        if "first" in str(messages):
            until = time.monotonic() + 10
            while not (path.is_file() and path.read_text().endswith("\n")):
                assert time.monotonic() < until, "the other reply is not on disk"
                time.sleep(0.01)
            raise ConnectionError("refused")
        return Reply(YES)

    judge = ChatJudge("j", ask, store=ReplyStore(path), parallel=2)
    items = [item("1", "first"), item("2", "second")]
    with pytest.raises(ConnectionError) as raised:
        judge.judge(items)
    assert raised.value.__notes__ == [f"while judging 1, replies in {path}"]
    assert judge.key(items[1]) in ReplyStore(path).replies


def test_after_a_failure_nothing_more_is_asked(tmp_path):
    asked = []

    def ask(messages):
        asked.append(messages)
        time.sleep(0.05)
        raise ConnectionError("refused")

    judge = ChatJudge("j", ask, store=ReplyStore(tmp_path / "j.jsonl"))
    with pytest.raises(ConnectionError):
        judge.judge([item(str(n), f"answer {n}") for n in range(50)])
    assert len(asked) < 50


def test_the_closing_table_shows_scores_out_of_5_and_shares_as_percentages():
    metrics = {"accuracy_j": 0.5, "score_j": 3.25, "detail_j": 2.0, "unparsed_j": 1}
    shown = closing_table({"d/val": ([], metrics)})
    assert "50.00 %" in shown and "3.25 of 5" in shown and "2.00 of 5" in shown


def test_a_local_chat_model_is_a_judge(tmp_path, monkeypatch):
    folder = tmp_path / "tiny-judge"
    write_chat_model(folder, ["{'pred':", "'yes',", "'score':", "4}"])
    judge = JUDGES.load("local")(JudgeConfig(name="local", path=str(folder), store=str(tmp_path / "store")))
    verdicts = judge.judge([item("1"), item("2", "a dog")])
    assert judge.name == "tiny-judge" and [(one.correct, one.score) for one in verdicts] == [(True, 4.0)] * 2
    kept = [json.loads(line) for line in (tmp_path / "store" / "tiny-judge.jsonl").read_text().splitlines()]
    assert [(row["uid"], row["reply"], row["source"]) for row in kept] == [
        ("1", "{'pred': 'yes', 'score': 4}", "tiny-judge"),
        ("2", "{'pred': 'yes', 'score': 4}", "tiny-judge"),
    ]
    again = JUDGES.load("local")(JudgeConfig(name="local", path=str(folder), store=str(tmp_path / "store")))
    monkeypatch.setattr("vidalign.backbones.chat_model.LocalChat.__call__", None)
    assert again.judge([item("1")])[0].score == 4, "what was judged before is not asked again"


def test_a_local_judges_unreadable_reply_is_asked_for_once(tmp_path):
    folder = tmp_path / "chatty"
    write_chat_model(folder, ["Sure!", "{'pred':", "'yes',", "'score':", "5}"])
    config = JudgeConfig(name="local", path=str(folder), store=str(tmp_path / "store"), attempts=3)
    [verdict] = JUDGES.load("local")(config).judge([item("1")])
    assert not verdict.parsed and verdict.reply == "Sure! {'pred': 'yes', 'score': 5}"
    assert len((tmp_path / "store" / "chatty.jsonl").read_text().splitlines()) == 1


def write_chat_model(folder, reply):
    """A LLaMA folder with a chat template that answers `reply`, a list of words, to everything.

    Its layers add nothing, and the output matrix knows for every word which one follows it.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "</s>", "assistant:", *reply]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")
    fast.chat_template = (
        "{% for message in messages %}{{ message.role }} {{ message.content }} {% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    fast.save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    lm = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), eos_token_id=1, bos_token_id=None, **sizes))
    chain = [2, *range(3, len(words)), 1]
    with torch.no_grad():
        for layer in lm.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        lm.model.embed_tokens.weight.copy_(torch.eye(len(words), 16))
        lm.lm_head.weight.zero_()
        for word, following in zip(chain, chain[1:], strict=False):
            lm.lm_head.weight[following, word] = 1.0
    lm.save_pretrained(folder)
