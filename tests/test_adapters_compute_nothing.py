"""Adapters rename, cast, index and call; whatever is computed is computed by the package. Held over the syntax tree."""

import ast
from pathlib import Path

import pytest

ADAPTERS = sorted((Path(__file__).parent / "adapters").rglob("*.py"))

# What an adapter may take from torch: making, joining and casting tensors, and asking for gradients.
FROM_TORCH = {
    *("Tensor", "tensor", "as_tensor", "zeros", "full", "arange", "cat", "stack", "from_numpy", "no_grad", "device"),
    *("float16", "float32", "float64", "bfloat16", "int64", "long", "bool", "dtype", "save", "load"),
    *("autograd", "autograd.grad"),
}
# Methods that compute, whatever they are called on.
COMPUTING = {
    *("softmax", "log_softmax", "sigmoid", "tanh", "relu", "silu", "exp", "log", "sqrt", "rsqrt", "pow", "sum", "mean"),
    *("matmul", "mm", "bmm", "einsum", "dot", "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "addmm"),
    *("argmax", "argmin", "max", "min", "amax", "amin", "topk", "sort", "argsort", "cumsum", "cumprod", "prod"),
    *("var", "std", "clamp", "where", "masked_fill", "masked_fill_", "gather", "scatter", "scatter_", "index_add"),
    *("cross_entropy", "nll_loss", "linear", "embedding", "layer_norm", "lgamma", "digamma", "round", "floor", "abs"),
    *("repeat_interleave", "nonzero", "logsumexp", "one_hot", "multinomial", "neg", "reciprocal", "baddbmm", "outer"),
}
COMPUTING_NAMES = {"sum", "max", "min", "pow", "round", "abs", "divmod", "eval", "exec", "__import__", "getattr"}
MAY_IMPORT = {
    "vidalign",
    "torch",
    "refcases",
    "adapters",
    "json",
    "pathlib",
    "typing",
    "__future__",
    "tempfile",
    "argparse",
}
MAY_IMPORT |= {"contextlib", "collections", "dataclasses", "functools", "types"}


def dotted(node):
    """`torch.nn.functional` of an attribute chain that starts at a name, else None."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def offences(source):
    """(line, what is wrong) of everything in `source` that computes."""
    return sorted({found for node in ast.walk(ast.parse(source)) for found in _offence(node)})


def _offence(node):
    line = getattr(node, "lineno", 0)
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        yield from ((line, f"imports {name}") for name in modules if name.split(".")[0] not in MAY_IMPORT)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "torch":
            yield from ((line, f"torch.{a.name}") for a in node.names if a.name not in FROM_TORCH)
        elif isinstance(node, ast.Import):
            yield from ((line, f"imports {name}") for name in modules if name.startswith("torch."))
            yield from ((line, "renames torch") for alias in node.names if alias.name == "torch" and alias.asname)
    elif isinstance(node, ast.Attribute):
        name = dotted(node)
        if name and name.startswith("torch.") and name.removeprefix("torch.") not in FROM_TORCH:
            yield line, name
        if node.attr in COMPUTING:
            yield line, f".{node.attr}"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "norm":
        yield line, ".norm()"  # without a call it is the name of a layer
    elif isinstance(node, ast.Name) and node.id in COMPUTING_NAMES:
        yield line, node.id
    elif (
        isinstance(node, ast.BinOp | ast.AugAssign)
        and not _is_join(node)
        or (
            isinstance(node, ast.UnaryOp)
            and not isinstance(node.op, ast.Not)
            and not isinstance(node.operand, ast.Constant)
        )
    ):
        yield line, f"operator {type(node.op).__name__}"
    elif isinstance(node, ast.ClassDef) and node.bases:
        yield line, f"class {node.name} inherits"


def _is_join(node):
    """Path / part where a part is written as text; dict | dict between names or displays."""
    if isinstance(node.op, ast.Div) and isinstance(node, ast.BinOp):
        return any(isinstance(s, ast.JoinedStr) or isinstance(s, ast.Constant) and isinstance(s.value, str)
                   for s in (node.left, node.right))  # fmt: skip
    return isinstance(node.op, ast.BitOr)


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.name)
def test_adapter_computes_nothing(path):
    found = offences(path.read_text(encoding="utf-8"))
    assert not found, "\n".join(f"{path.name}:{line}: {what}" for line, what in found)


@pytest.mark.parametrize(
    "source",
    [
        "x = a + b",
        "x = a @ b",
        "x *= 2",
        "x = -loss",
        "x = a / 2",
        "import torch.nn.functional as F",
        "from torch import nn",
        "from torch.nn import functional",
        "import torch as t",
        "import numpy",
        "import math",
        "import einops",
        "x = torch.softmax(y, -1)",
        "x = torch.nn.Linear(1, 2)",
        "x = y.softmax(-1)",
        "x = y.mean()",
        "x = y.norm()",
        "f = y.exp",
        "x = y.argmax(-1)",
        "x = sum(losses)",
        "x = getattr(torch, 'exp')(y)",
        "class Model(Base):\n    pass",
        "x = torch.ops.aten.mm(a, b)",
    ],
)
def test_computing_is_noticed(source):
    assert offences(source)


@pytest.mark.parametrize(
    "source",
    [
        "from vidalign.losses.evidential import evidential_loss",
        "x = torch.autograd.grad(loss, inputs, grad_outputs=weight)",
        "x = y[..., :3].reshape(2, -1).to(torch.float16)",
        "x = torch.cat([a, b])",
        "x = folder / f'{name}.json'",
        "x = {'a': 1} | other",
        "x = not y",
        "x = model.body.norm",
        "x = y[-1]",
    ],
)
def test_plumbing_is_allowed(source):
    assert not offences(source)
