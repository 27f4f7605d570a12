"""--options: whatever stands there, the answer is an Experiment or one ConfigError; what was said is what is loaded."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidalign.common.errors import ConfigError
from vidalign.config.load import load, resolved_yaml, values_with_sources

CONFIG = """\
model: {arch: bovila, size: tiny, llm: {format: random}}
datasets: {star: {root: ., train: train, eval: val}}
task: {name: multiple_choice}
run: {max_epochs: 3, optimizer: {lr: 1e-3}}
"""
quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SIGNS = st.text("{}[]()&*!|>%@`'\"#:,?-=.$~<\\ \t\n0aé", max_size=14)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "c.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def keys(config):
    return [key for key, _, _ in values_with_sources(load(config)) if key != "plugins"]


@quick
@given(data=st.data(), value=SIGNS | TEXT | st.integers().map(str) | st.floats().map(str))
def test_any_value_of_any_key(data, value, config, keys):
    key = data.draw(st.sampled_from(keys))
    with contextlib.suppress(ConfigError):
        resolved_yaml(load(config, [f"{key}={value}"]))


@quick
@given(options=st.lists(SIGNS | TEXT, max_size=4))
def test_any_text(options, config):
    with contextlib.suppress(ConfigError):
        load(config, options)


@quick
@given(data=st.data(), tail=SIGNS | TEXT)
def test_any_key_near_a_real_one(data, tail, config, keys):
    key = data.draw(st.sampled_from(keys))
    cut = data.draw(st.integers(0, len(key)))
    with contextlib.suppress(ConfigError):
        load(config, [f"{key[:cut]}{tail}={cut}", f"{key}.{tail}=1"])


@quick
@given(seed=st.integers(0, 2**31 - 1), epochs=st.integers(1, 500), lr=st.floats(1e-8, 1, allow_nan=False))
def test_what_was_said_is_what_is_loaded(seed, epochs, lr, config):
    run = load(config, [f"run.seed={seed}", f"run.max_epochs={epochs}", f"run.optimizer.lr={lr!r}"]).run
    assert (run.seed, run.max_epochs, run.optimizer.lr) == (seed, epochs, lr)


@quick
@given(text=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20))
def test_a_quoted_text_stays_that_text(text, config):
    assert load(config, [f"datasets.star.train='{text}'"]).datasets["star"].train == text


@quick
@given(first=st.integers(0, 99), last=st.integers(0, 99))
def test_the_last_one_counts(first, last, config):
    assert load(config, [f"run.seed={first}", f"run.seed={last}"]).run.seed == last
