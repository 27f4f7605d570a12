"""Settings of a judge of open-ended answers. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.common.options import option
from vidalign.common.paths import missing, missing_model


@dataclass
class JudgeConfig:
    """Who judges answers, and how often it is asked. Its name is part of the metrics' names."""

    name: str = option("exact", "see `vidalign list judges`", registry="judge")
    model: str = option("gpt-3.5-turbo", "http: model the endpoint is asked for; scores depend on its version")
    url: str = option("https://api.openai.com/v1", "http: address of an OpenAI-compatible endpoint")
    key_env: str = option("OPENAI_API_KEY", "http: environment variable that holds the key; empty: none is sent")
    path: str | None = option(
        None, "local: folder or hub name of a chat model; recorded: file of replies (jsonl)", path=True
    )
    attempts: int = option(3, "how often one item is asked at most, until a reply can be read", low=1)
    timeout_seconds: float = option(60.0, "http: patience with one request", low=0.1)
    parallel: int = option(4, "http: requests at the same time", low=1)
    lenient: bool = option(False, "also read a dictionary inside other text (published scores do not)")
    store: str = option(
        "cache/judge", "folder where every reply is kept; what was judged before is not asked again", path=True
    )

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values: (key, sentence)."""
        if self.name in ("local", "recorded") and self.path is None:
            what = "the chat model's folder" if self.name == "local" else "the file of replies"
            return [("path", f"judge {self.name} needs {what}. Give it.")]
        return []

    def missing_files(self) -> list[tuple[str, str]]:
        """Files that are not where the config says: (key, sentence)."""
        if self.path is None:
            return []
        text = missing_model(self.path) if self.name == "local" else missing(self.path)
        return [("path", f"{text} Correct the path.")] if text else []
