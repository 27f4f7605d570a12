"""A judge behind an OpenAI-compatible HTTP endpoint. The standard library is enough for it."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from vidalign.common.errors import ConfigError, DataError
from vidalign.scoring.judge_chat import Messages, Reply

_RETRIED = (408, 409, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class HttpChat:
    """POST {url}/chat/completions with model and messages, nothing else: the endpoint's own defaults, as published.

    key_env: environment variable of the key, asked at every request and written nowhere. tries: per request, with
    pauses that double. DataError when the endpoint cannot be reached; what was answered before is kept.
    """

    url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    timeout_seconds: float = 60.0
    tries: int = 4
    pause_seconds: float = 1.0

    def __call__(self, messages: Messages) -> Reply:
        """The reply's text and the model that the endpoint names."""
        body = json.dumps({"model": self.model, "messages": messages}).encode()
        problem = ""
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.pause_seconds * 2 ** (attempt - 1))
            try:
                return self._read(self._post(body))
            except urllib.error.HTTPError as error:
                if error.code not in _RETRIED:
                    raise ConfigError(self._refused(error)) from error
                problem = f"HTTP {error.code}"
            except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
        raise DataError(
            f"judge {self.model} at {self.url} did not answer {self.tries} times ({problem}); the replies so far are "
            "kept and the same command goes on there"
        )

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.key_env:
            key = os.environ.get(self.key_env)
            if not key:
                raise ConfigError(
                    f"judge {self.model}: the environment variable {self.key_env} is not set; put the endpoint's key "
                    "there, or set task.judge.key_env to the variable that has it (empty: no key)"
                )
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
            return json.loads(response.read().decode("utf-8"))

    def _read(self, value: Any) -> Reply:
        try:
            text = value["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError("an answer without choices[0].message.content") from error
        return Reply("" if text is None else str(text), value.get("model"))

    def _refused(self, error: urllib.error.HTTPError) -> str:
        detail = error.read(300).decode("utf-8", "replace").strip()
        return (
            f"judge {self.model} at {self.url} refuses the request (HTTP {error.code}): {detail or 'no reason given'}; "
            f"check task.judge.model, task.judge.url and the key in {self.key_env or '(none)'}"
        )
