"""Benchmarks in the layouts of the official repositories besides those of stand_in_data.py, a row or two each."""

from __future__ import annotations

import math
from typing import Any

from stand_in_data import lines

_FOUR = {f"a{i}": f"o{i}" for i in range(4)}
_FIVE = {f"a{i}": f"o{i}." for i in range(5)}
_SEVILA = {"video": "folder/v1", "question": "What?", "start": 1.0, "end": 4.5}
_SUB = [{"start": 1, "end": 2, "text": "x"}]
_HD_VILA = {"video_id": "v", "url": "u", "clip": [{"clip_id": "v.1.mp4", "span": ["00:01:17.759", "01:00:23.5"]}]}
_OWN = {
    **{"id": "r", "video": "a.mp4", "question": "q", "options": ["x", "y"], "answer_idx": 1, "start": 1, "end": 2},
    **{"subtitles": _SUB, "windows": [[1, 2]], "texts": ["x"], "text_spans": [[1, 2]], "label": 3, "clip_len": 2},
    **{"fps": 3, "duration_seconds": 9, "meta": {"a": 1}, "answers": ["x"], "qtype": "k"},
}


def layouts() -> dict[str, dict[str, Any]]:
    """dataset -> file below its folder -> content, JSON values or text."""
    nextqa = {"video": "1106/426", "num_option": 5, "qid": "CW_426_4", "question": "why?", "answer": 2, **_FIVE}
    highlight = {"video": "folder/a_0_150", "qid": "QVHighlight_4", "query": "a cat", "duration": 9}
    subs = {"vid": "a_0_150", "qid": "s4", "query": "so", "duration": 9, "relevant_windows": [[0, 4]]}
    coin = {"duration": 9.5, "class": "Do", "subset": "training", "recipe_type": 131, "start": 1.0, "end": 8.0}
    drama = {"videoType": "scene", "vid": "AnotherMissOh17_001_0000", "qid": 1, "shot_contained": [1, 3], "que": "why"}
    qa = {"question": "q", "options": ["a", "b"], "answer": "A", "answer_open_ended": "z"}
    return {
        "nextqa": {"val.json": [nextqa]},
        "star": {"val.json": [_SEVILA | _FOUR | {"num_option": 4, "qid": "Sequence_T1_3", "answer": 2}]},
        "tvqa": {
            "val.json": [_SEVILA | _FIVE | {"num_option": 5, "qid": "TVQA_9", "answer": 4}],
            "tvqa_preprocessed_subtitles.jsonl": lines({"vid_name": "v1", "sub": _SUB}),
        },
        "vlep": {
            "val.json": [_SEVILA | {"a0": "x", "a1": "y", "num_option": 2, "qid": "VLEP_7", "answer": 1}],
            "vlep_subtitles.jsonl": lines({"vid_name": "v1", "sub": _SUB}),
        },
        "how2qa": {
            "val.json": [_SEVILA | _FOUR | {"num_option": 4, "qid": "HOW2QA_3", "answer": 1}],
            "train.jsonl": lines(
                {"clip_id": "h_0_60", "span": [math.nan] * 2, "text_q": "q", "text_a": list("abcd"), "answer_idx": 2}
                | {"text_s": _SUB}
            ),
            "how2qa_test_release.jsonl": lines(
                {"qid": 1, "vid_name": "7", "q": "q", "answer_idx": 1, "ts": "1-2", **_FOUR}
            ),
            "how2_vid_mapping.json": {"7": "abc_0_60"},
            "how2QA_test_public_release.csv": "abc,[214.42:234.7],blue,green,red,What?,Yellow\n",
        },
        "qvhighlights": {
            "train.json": [highlight | {"relevant_windows": [[0, 4]]}],
            "subs_val.jsonl": lines(subs | {"relevant_clip_ids": [0, 1]}),
        },
        "activitynet_qa": {"test.jsonl": lines({"video_name": "abc", "question": "what", "answer": 3})},
        "msrvtt_qa": {
            "qa_train.json": [{"video": "video7.mp4", "question": "q", "answer": "a", "question_id": 4}],
            "test_qa.json": [{"answer": "a", "category_id": 1, "id": 1, "question": "q", "video_id": 1}],
        },
        "msvd_qa": {"txt_msvd-qa.json": {"train": [{"video": "a", "question": "q", "answer": 1}], "vocab": ["a", "b"]}},
        "tgif_qa": {
            "txt_tgif-action.json": {
                "train": [{"video": "g", "question": "q", "answer": 1, **{f"option_{i}": "o" for i in range(5)}}]
            },
            "test_q.json": [{"video_name": "g", "question": "q", "question_id": 1}],
            "test_a.json": [{"answer": "x", "question_id": 1}],
        },
        "msrvtt": {
            "txt_msrvtt-retrieval.json": {"train": [{"video": "video1", "caption": "x"}]},
            "MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\nret0,msr1,video1,a b\n",
        },
        "didemo": {"test.jsonl": lines({"clip_id": "a", "text": ["x", "y"]})},
        "queryd": {"test.jsonl": lines({"clip_id": "a", "text": "x"})},
        "violin": {"violin_test.jsonl": lines({"clip_id": "c", "text_q": "q", "text_s": _SUB, "answer": 0})},
        "coin": {
            "test.jsonl": lines({"video_id": "x", "recipe_type": 7}),
            "COIN.json": {"database": {"a": coin | {"annotation": [{"id": "2", "segment": [1, 4], "label": "s"}]}}},
        },
        "lvu": {"scene/test.jsonl": lines({"video_id": "x", "recipe_type": 7})},
        "lfvila8m": {"val.jsonl": lines(_HD_VILA)},
        "videochatgpt_tune": {"VideoInstruct_Dataset.json": [{"q": "q", "a": "a", "video_id": "v_1"}]},
        "textvid": {
            "textvid_val.json": [
                {"idx": 7, "frames": [{"caption": "a"}], "global_video_caption": "x", "QAs": [qa]},
            ]
        },
        "webvid": {"txt_webvid2.5m.json": {"train": {"1": ["x"]}, "val": {"2": ["y", "z"]}}},
        "dramaqa": {"AnotherMissOhQA_val_set.json": [drama | {"answers": list("abcde"), "qa_level": 2}]},
        "own_data": {"val.jsonl": lines(_OWN)},
    }
