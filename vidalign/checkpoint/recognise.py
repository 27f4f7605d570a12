"""Whose checkpoint is this? Told from the names of its tensors, for `vidalign inspect`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """A known layout: tensor names that must be there, all that belong to it (patterns), its needs, who takes it."""

    name: str
    signs: tuple[str, ...]
    known: tuple[str, ...]
    needs: str
    taken_by: str

    def fits(self, names: Iterable[str]) -> bool:
        """Whether every sign is the name of some tensor."""
        names = list(names)
        return all(any(re.fullmatch(sign, name) for name in names) for sign in self.signs)

    def strangers(self, names: Iterable[str]) -> list[str]:
        """Tensors that do not belong to the layout, so that loading would refuse or leave them."""
        pattern = re.compile("|".join(self.known))
        return [name for name in names if not pattern.fullmatch(name)]


_ADAPTER = (r"adapter_query\.weight", r"visual_proj\.weight", r"temporal_emb\.weight")
LAYOUTS = (
    Layout(
        "trained part of BoViLA, LLaMA-VQA or TOPA (the same names; adapter rows per layer: 10, TOPA 50)",
        _ADAPTER,
        (*_ADAPTER, r"layers\.\d+\.attention\.gate[12]"),
        "the LLaMA weights it was trained on (checkpoints/llama, llama2 or llama3)",
        "run.checkpoint of configs/{bovila,llama_vqa,topa}/*_eval.yaml",
    ),
    Layout(
        "LLaMA in Meta's layout, one shard",
        (r"tok_embeddings\.weight", r"layers\.0\.attention\.wq\.weight"),
        (
            r"(tok_embeddings|norm|output)\.weight",
            r"layers\.\d+\.(attention|feed_forward)\.w\w+\.weight",
            r"layers\.\d+\.(attention|ffn)_norm\.weight",
            r"rope\.freqs|layers\.\d+\.attention\.inner_attention\.rope\.freqs",
        ),
        "params.json beside it, tokenizer.model beside it or one folder above, and all other shards",
        "model.llm.path (the folder) with model.llm.format=meta",
    ),
    Layout(
        "Video-Panda (arXiv 2412.18609) or its start EVE",
        (r"model\.layers\.0\.self_attn\.q_proj\.weight", r"model\.(video|vision)_tower\..+"),
        (r"model\..+", r"lm_head\.weight"),
        "tokenizer and config.json in the same folder, all shards of the index",
        "model.weights (the folder) of configs/models/video_panda_7b.yaml",
    ),
    Layout(
        "a Hugging Face LLaMA",
        (r"model\.layers\.0\.self_attn\.q_proj\.weight", r"model\.embed_tokens\.weight"),
        (r"model\..+", r"lm_head\.weight"),
        "config.json and the tokenizer in the same folder",
        "model.llm.path (the folder) with model.llm.format=hf",
    ),
    Layout(
        "LF-VILA (arXiv 2210.06031)",
        (r"video_encoder\.patch_embed\.proj\.weight", r"text_encoder\.bert\..+"),
        (
            r"(video|text)_encoder\..+",
            r"(video|text)_(local|global)_proj\..+",
            r"(sent_embedding|video_token_pos|classifier|video_frame_proj)\..+",
        ),
        "the BERT vocabulary (checkpoints/bert-base-uncased)",
        "the LF-VILA configs",
    ),
    Layout(
        "ViLA, SeViLA, BLIP-2 or InstructBLIP: Q-Former and projection",
        (r"Qformer(_loc|_T)?\.bert\..+", r"query_tokens(_loc|_T)?"),
        (
            r"(Qformer|query_tokens|t5_proj|ln_vision|visual_encoder|t5_model|fs|dist_fc_bn)\w*(\..+)?",
            r"temp",
        ),
        "EVA ViT-g (checkpoints/vila/eva_vit_g.pth) and FLAN-T5 XL",
        "model.weights.start or run.checkpoint of the ViLA and SeViLA configs",
    ),
    Layout(
        "EVA ViT-g, a bare vision tower",
        (r"patch_embed\.proj\.weight", r"blocks\.38\.attn\.qkv\.weight"),
        (r"(patch_embed|blocks|norm|head|fc_norm)\..+", r"cls_token|pos_embed"),
        "nothing else",
        "model.weights.vision of the ViLA and SeViLA configs",
    ),
)


def recognise(names: Iterable[str]) -> list[str]:
    """Lines for `vidalign inspect`: the layout, what it needs, what takes it, and tensors that do not belong to it."""
    names = list(names)
    layout = next((one for one in LAYOUTS if one.fits(names)), None)
    if layout is None:
        return ["  layout    unknown: no system here has tensors of these names"]
    strangers = layout.strangers(names)
    loaded = f"{len(names) - len(strangers)} of {len(names)} tensors have names of this layout"
    if strangers:
        loaded += f"; not of it: {', '.join(strangers[:4])}{' ...' if len(strangers) > 4 else ''}"
    return [
        f"  layout    {layout.name}",
        f"  needs     {layout.needs}",
        f"  taken by  {layout.taken_by}",
        f"  loads     {loaded}",
    ]
