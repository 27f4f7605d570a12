"""Every name in the registry leads to something that exists and is what the table says."""

import dataclasses

import pytest

from vidalign.registry import ALL, MODELS, TASKS

ENTRIES = [(table, name) for table in ALL for name in table]
entries = pytest.mark.parametrize(("table", "name"), ENTRIES, ids=[f"{table.kind}-{name}" for table, name in ENTRIES])


@entries
def test_target_can_be_imported(table, name):
    assert callable(table.load(name))
    assert table.entry(name).summary, f"{table.kind} {name} needs one line of description"


@entries
def test_config_is_a_dataclass_with_help(table, name):
    config = table.config(name)
    if config is None:
        return
    assert dataclasses.is_dataclass(config)
    silent = [field.name for field in dataclasses.fields(config) if not field.metadata.get("help")]
    assert not silent, f"{config.__name__}: {silent} have no help line"


@pytest.mark.parametrize("name", list(MODELS))
def test_abilities_in_the_table_are_those_of_the_class(name):
    from vidalign.models.base import ABILITIES

    model = MODELS.load(name)
    assert set(MODELS.entry(name).abilities) == set(model.abilities)
    assert model.abilities <= ABILITIES.keys()
    for ability in model.abilities:
        assert callable(getattr(model, ability))


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_has_a_model_that_can_do_it(name):
    needs = TASKS.entry(name).needs
    assert needs is None or any(needs in MODELS.entry(model).abilities for model in MODELS)
