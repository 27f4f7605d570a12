"""Plug-ins register names before the config is checked; a broken one gives one clear message."""

import pytest

from vidalign import registry
from vidalign.common.errors import ConfigError
from vidalign.config.load import load

CONFIG = """\
model: {arch: NAME, width: 3}
datasets: {star: {root: x, eval: val}}
task: {name: multiple_choice}
"""
PLUGIN = """\
from dataclasses import dataclass

from vidalign.common.options import option
from vidalign.registry import MODELS, Entry


@dataclass
class Settings:
    arch: str = option("NAME", "registry name")
    width: int = option(1, "how wide", low=1)

    def problems(self):
        return [("width", "must be odd. Add one.")] if self.width % 2 == 0 else []


MODELS.register("NAME", Entry("NAME_plugin:Model", "NAME_plugin:Settings", abilities=("score_options",)))
"""


@pytest.fixture
def make(tmp_path, request, monkeypatch):
    """Write a plug-in and a config under a name of this test's own; the registry is as before afterwards."""
    monkeypatch.setattr(registry.MODELS, "_table", dict(registry.MODELS._table))
    name = request.node.name.partition("[")[0]

    def write(plugin=PLUGIN, head=""):
        (tmp_path / f"{name}_plugin.py").write_text(plugin.replace("NAME", name))
        path = tmp_path / "c.yaml"
        path.write_text(head + CONFIG.replace("NAME", name))
        return path, tmp_path / f"{name}_plugin.py", name

    return write


def test_a_file_named_on_the_command_line(make):
    path, plugin, name = make()
    with pytest.raises(ConfigError, match="name its plug-in with --plugins"):
        load(path)
    experiment = load(path, [], [str(plugin)])
    assert (experiment.model.arch, experiment.model.width) == (name, 3) and experiment.plugins == [str(plugin)]
    assert type(experiment.model).__module__ == plugin.stem  # importable by name, so it travels to loader workers
    assert load(path, [], [str(plugin)]).model == experiment.model  # twice the same is no conflict


def test_a_file_named_beside_the_config(make):
    path, plugin, _ = make(head="plugins: test_a_file_named_beside_the_config_plugin.py\n")
    assert load(path).plugins == [str(plugin)]


def test_a_module_on_the_path(make, monkeypatch):
    path, plugin, name = make()
    monkeypatch.syspath_prepend(str(plugin.parent))
    assert load(path, [], [plugin.stem]).model.width == 3
    with pytest.raises(ConfigError, match=r"--options: model.width = 2: must be odd. Add one."):
        load(path, ["model.width=2"], [plugin.stem])
    with pytest.raises(ConfigError, match="model.widht = 2: unknown key. Did you mean model.width?"):
        load(path, ["model.widht=2"], [plugin.stem])


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nowhere_to_be_found\n", r"plugin.py:1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("x = 1\nx.y\n", r"plugin.py:2: AttributeError"),
        ("def broken(:\n", r"plugin.py:1: SyntaxError"),
        ("raise RuntimeError('no licence')\n", r"RuntimeError: no licence. Mend the plug-in or leave it out"),
        (
            "from vidalign.registry import MODELS, Entry\nMODELS.register('bovila', Entry('a:b'))\n",
            r"'bovila' is already registered as vidalign.models.bovila.model:BoViLA",
        ),
    ],
    ids=["import", "attribute", "syntax", "runtime", "name taken"],
)
def test_broken_ones(make, code, says, tmp_path, request):
    path, plugin, _ = make(plugin=code)
    own = plugin.rename(tmp_path / f"broken_{abs(hash(code))}_plugin.py")
    with pytest.raises(ConfigError, match=says) as caught:
        load(path, [], [str(own)])
    assert sum("--plugins: plugins = " in line for line in str(caught.value).splitlines()) == 1


def test_files_that_are_not_there_or_hide_a_module(make, tmp_path):
    path, plugin, _ = make()
    with pytest.raises(ConfigError, match=f"Did you mean {plugin}"):
        load(path, [], [str(plugin)[:-4] + "x.py"])
    (tmp_path / "json.py").write_text("")
    with pytest.raises(ConfigError, match="another module is called 'json'.*Rename"):
        load(path, [], [str(tmp_path / "json.py")])


def test_entries_without_a_usable_config_class(make):
    path, plugin, name = make(plugin=PLUGIN.replace('"NAME_plugin:Settings"', '"NAME_plugin:Setting"'))
    with pytest.raises(ConfigError, match=f"model.arch: its config class '{name}_plugin:Setting' cannot be imported"):
        load(path, [], [str(plugin)])
