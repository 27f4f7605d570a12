"""Reference cases of caption metrics."""

from __future__ import annotations

from typing import Any

from refcases.case import Case, LeftOut

from vidalign.scoring.caption import caption_scores


def run_caption_metrics(case: Case) -> dict[str, Any]:
    """Tokens and scores; METEOR is left out where its Java program is not at hand."""
    said = {name: texts[0] for name, texts in case.json["hypotheses"].items()}
    scores = caption_scores(case.json["references"], said)
    meteor = LeftOut(scores.left_out[0]) if scores.meteor is None else scores.meteor
    totals = {"Bleu": list(scores.bleu), "ROUGE_L": scores.rouge_l, "CIDEr": scores.cider, "METEOR": meteor}
    return {
        **{f"json:{name}": value for name, value in totals.items()},
        **{f"out/{name}": value for name, value in totals.items()},
        "json:ROUGE_L_each": scores.rouge_l_each,
        "json:CIDEr_each": scores.cider_each,
        "json:tokenized_references": scores.references,
        "json:tokenized_hypotheses": scores.hypotheses,
    }
