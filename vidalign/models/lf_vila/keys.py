"""Weights for LF-VILA: released files, BERT, 2D Swin inflated in time (specification lf_vila, section 8).

Our modules have the released names. Legend: H heads, R rows of a bias table.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from vidalign.checkpoint.fit import require_fit
from vidalign.checkpoint.load import model_state, read_checkpoint
from vidalign.common.errors import CheckpointError
from vidalign.layers.window3d import Size3, table_rows

_log = logging.getLogger(__name__)
SEGMENTS = "sent_embedding.segment_embeddings.weight"
_TABLE = "relative_position_bias_table"
# Buffers in released files that are computed here.
_BUFFERS = ("relative_position_index", "position_ids")
_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.(.+)")
_MERGING = re.compile(r"layers\.(\d+)\.downsample\.(.+)")


@dataclass
class Report:
    """What a file did to a model: names loaded, names the model lacks, names the file lacks, names of other shapes.

    Only a load of what fits has names of other shapes.
    """

    loaded: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)


def without_buffers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Everything but the index tables of released files."""
    return {name: value for name, value in state.items() if not name.endswith(_BUFFERS)}


def load_complete(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load every weight or raise CheckpointError that lists every misfit; half precision is widened."""
    given = without_buffers(state)
    own = model.state_dict()
    require_fit({name: tuple(tensor.shape) for name, tensor in own.items()}, given, where="the checkpoint")
    _copy(model, given)


def start_from(
    model: nn.Module,
    *,
    swin: str | None,
    bert: str | None,
    pretrained: str | None,
    resize_windows: bool = False,
    partly: bool = False,
) -> Report:
    """The starting weights of a run, in the official order: Swin, BERT, then a file of LF-VILA over both.

    Heads may be absent from a file or from the model; any other misfit is a CheckpointError. resize_windows: bias
    tables of the last file may belong to other temporal windows. partly: of the last file what fits is loaded, and the
    log tells the rest.
    """
    report = Report()
    if swin is not None:
        state = swin_state(model_state(read_checkpoint(swin), where=swin), model.video_encoder)
        report = _load_part(model.video_encoder, state, where=swin, may_lack=(), may_exceed=())
    if bert is not None:
        report = load_bert(model, model_state(read_checkpoint(bert), where=bert), where=bert)
        if swin is not None:
            positions = model.text_encoder.bert.embeddings.position_embeddings.weight
            _copy(model, {"sent_embedding.position_embeddings.weight": positions.detach()})
    if pretrained is not None:
        state = model_state(read_checkpoint(pretrained), where=pretrained)
        if resize_windows:
            state = change_window(state, model.video_encoder.sizes.window_size)
        report = load_pretrained(model, state, where=pretrained, partly=partly)
        if partly:
            tell(report, where=pretrained)
    return report


def tell(report: Report, *, where: str) -> None:
    """What of a file was loaded and what was not, into the log."""
    kinds = {"not in the file": report.left, "not in the model": report.surplus, "of another shape": report.misshapen}
    lines = [f"\n  {what} ({len(names)}): {', '.join(names)}" for what, names in kinds.items() if names]
    _log.warning(f"{where}: {len(report.loaded)} tensors loaded{''.join(lines)}")


def load_bert(
    model: nn.Module, state: Mapping[str, Tensor], *, where: str, rename_norms: bool = True, partly: bool = False
) -> Report:
    """A BERT file into model.text_encoder; layers that the model does not own are passed over.

    Changed: old files call the norms' weights gamma and beta, which the official loader misses; here they are renamed
    (rename_norms False keeps to the official result). The next-sentence head never fits. partly: see `load_pretrained`.
    [weights_stage1_to_stage2]
    """
    state = without_buffers(state)
    if rename_norms:
        state = {re.sub(r"LayerNorm\.(gamma|beta)$", _norm_name, name): value for name, value in state.items()}
    if "cls.predictions.bias" in state:
        state.setdefault("cls.predictions.decoder.bias", state["cls.predictions.bias"])
    heads = ("cls.", "seq_relationship.", "classifier.", "span_classifier.", "bert.pooler.")
    beyond = (*heads, "bert.encoder.layer.")
    return _load_part(model.text_encoder, state, where=where, may_lack=heads, may_exceed=beyond, partly=partly)


def _norm_name(match: re.Match[str]) -> str:
    return "LayerNorm." + {"gamma": "weight", "beta": "bias"}[match[1]]


def load_pretrained(model: nn.Module, state: Mapping[str, Tensor], *, where: str, partly: bool = False) -> Report:
    """A stage-one or stage-two file into any LF-VILA model. Heads and layers over both modalities may be on one side
    only; a shorter table of sentence numbers is filled up with the model's own last rows.

    Changed: the official loader takes what fits of any file and prints the rest. Here any other misfit is an error and
    nothing is loaded: a run from half a file would look like one from all of it, and where all fits the result is the
    same. partly: as officially; the Report tells what did not fit. [weights_stage1_to_stage2]
    """
    given = without_buffers(state)
    own = model.state_dict()
    if SEGMENTS in given and SEGMENTS in own and given[SEGMENTS].shape[1:] == own[SEGMENTS].shape[1:]:
        given[SEGMENTS] = extend_rows(given[SEGMENTS], own[SEGMENTS])
    first = getattr(getattr(model, "architecture", None), "stage1_layers", 0)
    cross = tuple(f"text_encoder.bert.encoder.layer.{i}." for i in range(first, 200))
    heads = (
        *("text_encoder.cls.", "text_encoder.seq_relationship.", "text_encoder.classifier.", "classifier."),
        *("text_encoder.span_classifier.", "video_token_pos.", "video_frame_proj.", "text_encoder.bert.pooler."),
        *("video_local_proj.", "text_local_proj.", "video_global_proj.", "text_global_proj."),
    )
    text = ("text_encoder.", "sent_embedding.") if not hasattr(model, "text_encoder") else ()
    if not partly:  # a head of another size is a new head
        other = [name for name in given if name in own and given[name].shape != own[name].shape]
        given = {name: value for name, value in given.items() if name not in other or not name.startswith(heads)}
    may_lack, may_exceed = (*heads, *cross), (*heads, *cross, *text)
    return _load_part(model, given, where=where, may_lack=may_lack, may_exceed=may_exceed, partly=partly)


def extend_rows(short: Tensor, own: Tensor) -> Tensor:
    """The file's rows, then the model's own remaining ones, if any."""
    return torch.cat([short.to(own), own[len(short) :]])


def _load_part(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: str,
    may_lack: tuple[str, ...],
    may_exceed: tuple[str, ...],
    partly: bool = False,
) -> Report:
    own = module.state_dict()
    surplus = [name for name in state if name not in own]
    lacking = [name for name in own if name not in state]
    odd = [name for name in surplus if not name.startswith(may_exceed)] if may_exceed else surplus
    gone = [name for name in lacking if not name.startswith(may_lack)] if may_lack else lacking
    shapes = [n for n in own if n in state and own[n].shape != state[n].shape]
    problems = [f"missing: {name}" for name in gone] + [f"surplus: {name}" for name in odd]
    problems += [f"shape of {n}: file {tuple(state[n].shape)}, model {tuple(own[n].shape)}" for n in shapes]
    if problems and not partly:
        raise CheckpointError(f"{where} does not fit; nothing was loaded:\n  " + "\n  ".join(problems))
    given = {name: value for name, value in state.items() if name in own and name not in shapes}
    _copy(module, given)
    return Report(list(given), surplus, lacking, shapes)


def _copy(module: nn.Module, given: Mapping[str, Tensor]) -> None:
    own = module.state_dict()
    with torch.no_grad():
        for name, value in given.items():
            if not own[name].is_meta:
                own[name].copy_(value)


def swin_state(state: Mapping[str, Tensor], encoder: Any) -> dict[str, Tensor]:
    """A 2D Swin file -> the weights of a VideoEncoder.

    Blocks and mergings are renumbered in their order; the branch of local features starts as a copy of the last merging
    and norm. CheckpointError when the numbers of blocks or mergings differ. [weights_swin_inflation]
    """
    sizes = encoder.sizes
    kept = {n: v.float() for n, v in state.items() if not n.endswith(("relative_position_index", "attn_mask"))}
    kept = {n: v for n, v in kept.items() if not n.startswith("head.")}
    blocks = _in_order(
        {(int(m[1]), int(m[2])) for n in kept if (m := _BLOCK.fullmatch(n))},
        [(stage, block) for stage, depth in enumerate(sizes.depths) for block in range(depth)],
        "blocks",
    )
    mergings = _in_order(
        {int(m[1]) for n in kept if (m := _MERGING.fullmatch(n))}, list(sizes.downsample_stages), "patch mergings"
    )
    result: dict[str, Tensor] = {}
    for name, value in kept.items():
        if match := _BLOCK.fullmatch(name):
            stage, block = blocks[int(match[1]), int(match[2])]
            if name.endswith(_TABLE):
                value = inflate_table(value, sizes.window_size[stage])
            result[f"layers.{stage}.blocks.{block}.{match[3]}"] = value
        elif match := _MERGING.fullmatch(name):
            result[f"layers.{mergings[int(match[1])]}.downsample.{match[2]}"] = value
            if int(match[1]) == max(mergings):
                result[f"local_feat_proj.{match[2]}"] = value
        else:
            result[name] = value
    result |= {n.replace("norm.", "norm_local.", 1): v for n, v in kept.items() if n.startswith("norm.")}
    kernel = encoder.patch_embed.proj.weight.shape[2:]
    result["patch_embed.proj.weight"] = inflate_kernel(kept["patch_embed.proj.weight"], tuple(kernel))
    return result


def _in_order(places: set[Any], wanted: list[Any], what: str) -> dict[Any, Any]:
    if len(places) != len(wanted):
        raise CheckpointError(f"the Swin file has {len(places)} {what}, the video encoder {len(wanted)}")
    return dict(zip(sorted(places), wanted, strict=True))


def inflate_table(table_RH: Tensor, window: Size3) -> Tensor:
    """A square 2D bias table -> (rows of `window`, H): bicubic in space, then the same for every distance in time."""
    side, spatial = int(len(table_RH) ** 0.5), (2 * window[1] - 1, 2 * window[2] - 1)
    if len(table_RH) != spatial[0] * spatial[1]:
        grid = rearrange(table_RH, "(y x) h -> 1 h y x", y=side)
        grid = F.interpolate(grid, size=spatial, mode="bicubic", align_corners=False)
        table_RH = rearrange(grid, "1 h y x -> (y x) h")
    return repeat(table_RH, "r h -> (t r) h", t=2 * window[0] - 1)


def inflate_kernel(kernel: Tensor, size: Size3) -> Tensor:
    """(C, 3, p, p) -> (C, 3, *size): tiled in time and, where the patch is larger, in space; the mean stays."""
    times = (size[0], size[1] // kernel.shape[2], size[2] // kernel.shape[3])
    return kernel[:, :, None].repeat(1, 1, *times) / (times[0] * times[1] * times[2])


def change_window(state: Mapping[str, Tensor], windows: tuple[Size3, ...]) -> dict[str, Tensor]:
    """Bias tables of a file resized in time to other temporal windows; one of another height or width stays as it is.

    Kept: resized tables are rounded to half precision. [weights_change_window]
    """
    result = dict(state)
    for name, table_RH in state.items():
        match = re.search(r"layers\.(\d+)\..*" + _TABLE, name)
        if match is None or int(match[1]) >= len(windows):  # what does not belong here is told when it is loaded
            continue
        window = windows[int(match[1])]
        spatial = (2 * window[1] - 1) * (2 * window[2] - 1)
        if len(table_RH) != table_rows(window) and len(table_RH) % spatial == 0:
            grid = rearrange(table_RH.float(), "(t r) h -> 1 h t r", r=spatial)
            grid = F.interpolate(grid, size=(2 * window[0] - 1, spatial), mode="bicubic", align_corners=False)
            result[name] = rearrange(grid, "1 h t r -> (t r) h").half().to(table_RH.dtype)
    return result
