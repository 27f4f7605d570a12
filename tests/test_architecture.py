"""The walls of the house: imports run downhill, files and functions stay small, what is registered exists."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "vidalign"
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_LINE, MAX_NESTING = 400, 70, 120, 3

# package -> what it may import besides itself; "models/base" is the one file every task may see
MAY_IMPORT = {
    "common": set(),
    "registry": {"common"},
    "text": {"common"},
    "layers": {"common"},
    "losses": {"common"},
    "scoring": {"common"},
    "checkpoint": {"common"},
    "media": {"common"},
    "backbones": {"common", "layers", "checkpoint"},
    "models/base": {"common", "media"},
    "models": {"common", "layers", "losses", "backbones", "checkpoint", "text", "media", "models/base"},
    "data": {"common", "text", "media"},
    "tasks": {"common", "scoring", "text", "models/base"},
    "config": {"registry", "common"},
}
TOP = ("runners", "cli", "__main__")  # may import everything; only entry points and each other import them

# foreign package -> the only places that may import it
DOORS = {
    "omegaconf": ("config/",),
    "decord": ("media/video",),
    "av": ("media/video",),
    "torchcodec": ("media/video",),
    "transformers": ("backbones/", "text/tokenizers.py"),
    "timm": ("backbones/",),
    "peft": ("backbones/",),
    "sentencepiece": ("text/tokenizers.py",),
    "tiktoken": ("text/tokenizers.py",),
    "tokenizers": ("text/tokenizers.py", "text/fast_tokenizers.py", "text/wordpiece.py"),
    "pandas": ("data/sets/",),
    "nltk": ("scoring/wups.py",),
    "fairscale": ("runners/", "layers/", "backbones/"),
    "tensorboard": ("runners/",),
    "wandb": ("runners/",),
}
FOLDERS = ("vidalign", "data_prep", "benchmarks", "tests", "run_scripts")


def python_files(*folders):
    files = [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    return files + [
        REPOSITORY / name for name in ("train.py", "evaluate.py", "setup.py") if (REPOSITORY / name).exists()
    ]


PACKAGE_FILES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = python_files(*FOLDERS)
names = pytest.mark.parametrize


def where(path):
    return path.relative_to(REPOSITORY).as_posix()


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(tree):
    """Every absolute module name an `import` statement mentions, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module):
    """`vidalign.models.bovila.model` -> `models/bovila`; None for the bare package."""
    parts = module.split(".")[1:]
    if not parts:
        return None
    if parts[0] == "models" and len(parts) > 1:
        return f"models/{parts[1]}"
    return parts[0]


def allowed(own, other):
    if other is None or other == own or own in TOP or own is None:
        return True
    key = own if own in MAY_IMPORT else own.split("/")[0]
    return key in MAY_IMPORT and other in MAY_IMPORT[key]


def test_the_rule_itself():
    assert allowed("models/bovila", "layers") and allowed("tasks", "models/base") and allowed("runners", "data")
    assert not allowed("models/bovila", "models/topa") and not allowed("models/bovila", "data")
    assert not allowed("common", "registry") and not allowed("data", "runners") and not allowed("newroom", "common")
    assert list(imported_modules(ast.parse("def f():\n  from vidalign.data import sets"))) == [
        "vidalign.data",
        "vidalign.data.sets",
    ]


@names("path", PACKAGE_FILES, ids=where)
def test_imports_run_downhill(path):
    own = room(".".join(("vidalign", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"))
    ours = {room(name) for name in imported_modules(tree_of(path)) if name.split(".")[0] == "vidalign"}
    uphill = sorted(other for other in ours if other != "models" and not allowed(own, other))
    assert not uphill, f"{where(path)} ({own}) may not import {', '.join(uphill)}"


@names("path", PACKAGE_FILES, ids=where)
def test_one_door_per_foreign_package(path):
    inside = path.relative_to(PACKAGE).as_posix()
    foreign = {name.split(".")[0] for name in imported_modules(tree_of(path))} & DOORS.keys()
    wrong = sorted(name for name in foreign if not inside.startswith(DOORS[name]))
    assert not wrong, f"{where(path)} imports {', '.join(wrong)}; only {[DOORS[name] for name in wrong]} may"


def test_listing_and_config_classes_import_nothing_heavy():
    code = (
        "import sys\n"
        "from vidalign.registry import ALL\n"
        "import vidalign.config.schema\n"
        "[table.config(name) for table in ALL for name in table]\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'decord', 'timm', 'av'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function):
    """Lines of a function without its docstring."""
    length = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        length -= first.end_lineno - first.lineno + 1
    return length


def nesting(node, depth=0):
    """Deepest nesting of if, for, while, try below `node`; an elif chain counts once."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        blocks = isinstance(child, ast.If | ast.For | ast.While | ast.Try)
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting(child, depth + (blocks and not is_elif)))
    return deepest


@names("path", ALL_FILES, ids=where)
def test_budgets(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_FILE_LINES, f"{where(path)}: {len(lines)} lines; split it by idea"
    long = [number for number, line in enumerate(lines, start=1) if len(line) > MAX_LINE]
    assert not long, f"{where(path)}: lines {long} are longer than {MAX_LINE}"
    for function in functions(tree_of(path)):
        place = f"{where(path)}:{function.lineno} {function.name}"
        assert body_lines(function) <= MAX_FUNCTION_LINES, f"{place}: {body_lines(function)} lines"
        assert nesting(function) <= MAX_NESTING, f"{place}: nested {nesting(function)} deep"


def undocumented(tree):
    """Public functions, classes and methods of public classes without a docstring."""
    found = []
    bodies = [("", tree)]
    while bodies:
        prefix, node = bodies.pop()
        for child in node.body:
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if child.name.startswith("_"):
                continue
            if ast.get_docstring(child) is None:
                found.append(f"{prefix}{child.name}")
            if isinstance(child, ast.ClassDef):
                bodies.append((f"{child.name}.", child))
    return found


@names("path", PACKAGE_FILES, ids=where)
def test_public_things_have_docstrings(path):
    tree = tree_of(path)
    assert path.name == "__init__.py" or ast.get_docstring(tree), f"{where(path)} says not what it is"
    assert not undocumented(tree), f"{where(path)}: {undocumented(tree)} have no docstring"


@names("path", python_files("vidalign", "data_prep"), ids=where)
def test_no_broad_except(path):
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"all"}
        passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        broad = caught & {"all", "Exception", "BaseException"}
        assert not broad or passes_on, f"{where(path)}:{node.lineno} catches {broad} and does not raise it again"


# As a comment in any spelling (so that a wrong one is noticed), or as a sentence that opens a line or follows another
# in a docstring.
MARK = re.compile(r"#\s*((?i:kept|changed))\b(:?)\s*(.*)|(?:^\s*|\. )(Kept|Changed)(:)\s*(.*)")


def marks(path):
    """(line number, word as written, colon, reason) of every mark."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        found = MARK.search(line)
        if found:
            yield number, *(group for group in found.groups() if group is not None)


def test_marks_for_official_quirks_give_a_reason():
    listed = [
        (f"{where(path)}:{number}", word, colon, why)
        for path in PACKAGE_FILES
        for number, word, colon, why in marks(path)
    ]
    for place, word, colon, why in listed:
        print(f"{place}: {word}: {why}")
        assert word in ("Kept", "Changed") and colon, f"{place}: write '# Kept: why' or '# Changed: why it is safe'"
        assert len(why.split()) >= 4, f"{place}: {word} without a reason"


def committed_texts():
    """Text files under version control, or all of them where git is not at hand."""
    done = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    listed = [REPOSITORY / line for line in done.stdout.splitlines()] if done.returncode == 0 else ALL_FILES
    kinds = {".py", ".sh", ".yaml", ".md", ".toml", ".txt", ".cfg", ""}
    return [path for path in listed if path.suffix in kinds and path.is_file() and "golden" not in path.parts]


def test_no_machine_paths():
    pattern = re.compile(r"(?<![\w.$}/-])/(?:home|root|Users|work|mnt|scratch|opt)/\w")
    own = Path(__file__).name
    for path in committed_texts():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            assert path.name == own or not pattern.search(line), f"{where(path)}:{number}: {line.strip()}"


def test_ruff_is_content():
    pytest.importorskip("ruff")
    for command in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
