"""Settings of the tasks. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.common.options import option


@dataclass
class MultipleChoiceConfig:
    """Choose one of the options by its score."""

    name: str = option("multiple_choice", "registry name")
