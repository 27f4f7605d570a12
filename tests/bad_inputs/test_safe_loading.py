"""Every place that opens a file of somebody else's: only kinds of loading that cannot run code."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = [path for folder in ("vidalign", "data_prep") for path in sorted((REPOSITORY / folder).rglob("*.py"))]
FILES += [REPOSITORY / "train.py", REPOSITORY / "evaluate.py"]

# call (as written, without the first names) -> what must be among its keyword arguments; None: never allowed
RULES = {
    "torch.load": {"weights_only": True},
    "np.load": {"allow_pickle": False},
    "pickle.load": None,
    "pickle.loads": None,
    "pickle.Unpickler": None,
    "torch.jit.load": None,
    "joblib.load": None,
    "pd.read_pickle": None,
    "yaml.load": None,
    "yaml.unsafe_load": None,
    "yaml.full_load": None,
    "eval": None,
    "exec": None,
    "os.system": None,
    "os.popen": None,
    "shutil.unpack_archive": None,
    "AutoConfig.from_pretrained": {"trust_remote_code": False},
    "AutoModelForCausalLM.from_pretrained": {"trust_remote_code": False, "weights_only": True},
    "AutoModelForCausalLM.from_config": {"trust_remote_code": False},
}


def complaints(source):
    """Calls in a Python text that break a rule."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
        wanted = RULES.get(name, {})
        if wanted is None or any(given.get(key) != str(value) for key, value in wanted.items()):
            yield f"line {node.lineno}: {name}"
        if given.get("shell") == "True" or given.get("trust_remote_code", "False") != "False":
            yield f"line {node.lineno}: {name} runs what a file says"


# Not files: bytes in memory that this process has made itself a moment ago.
OWN_BYTES = {"packed.py": "pickle.loads"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_nothing_is_loaded_that_could_run(path):
    allowed = OWN_BYTES.get(path.name, "no call")
    assert not [one for one in complaints(path.read_text(encoding="utf-8")) if not one.endswith(f": {allowed}")]


@pytest.mark.parametrize(
    "source",
    ["torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x)", "eval(x)", "subprocess.run(x, shell=True)"],
)
def test_the_rule_itself(source):
    assert list(complaints(source)) and not list(complaints("torch.load(x, weights_only=True)"))


def test_only_the_safe_yaml_loader_is_extended():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Attribute)
                and ast.unparse(node).startswith("yaml.")
                and node.attr.endswith("Loader")
            ):
                assert node.attr == "SafeLoader", path
