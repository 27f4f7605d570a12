"""A chat model as a judge: asked a bounded number of times, every reply kept, resumable.

Changed: the official loop asks for an unreadable reply for ever; here an item stays unparsed after so many attempts,
and is counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from vidalign.common.errors import DataError
from vidalign.common.io import append_jsonl
from vidalign.scoring.judge import Item, Verdict, reply_key, verdict_of

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Reply:
    """What came back of one request: the text, and what the endpoint says about itself (its exact model)."""

    text: str
    source: str | None = None


class ReplyStore:
    """All replies of one judge in a JSON Lines file: uid, model, key (of model and prompt), reply, source.

    A line is on disk before the next request, so a broken-off judgement goes on where it stopped; a torn last line is
    cut off.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.replies: dict[str, list[str]] = {}
        for row in self._rows():
            self.replies.setdefault(row["key"], []).append(row["reply"])

    def add(self, item: Item, key: str, reply: Reply, *, model: str) -> None:
        """Keep a reply."""
        row = {"uid": item.uid, "protocol": item.protocol, "model": model, "key": key, "reply": reply.text}
        append_jsonl(self.path, [row | {"source": reply.source}])
        self.replies.setdefault(key, []).append(reply.text)

    def _rows(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        lines = self._whole_lines()
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line) if line else None
                if row is not None:
                    yield {"key": str(row["key"]), "reply": str(row["reply"])}
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{self.path}:{number}: not a kept reply: {error}; remove the line") from error

    def _whole_lines(self) -> list[bytes]:
        """The lines; the file ends with a whole one afterwards, so that the next reply gets a line of its own."""
        *lines, rest = self.path.read_bytes().split(b"\n")
        if not rest:
            return lines
        try:
            json.loads(rest)
        except ValueError:
            os.truncate(self.path, self.path.stat().st_size - len(rest))
            return lines
        with open(self.path, "ab") as file:  # an editor has cut the last line's end
            file.write(b"\n")
        return [*lines, rest]


class ChatJudge:
    """Judges with `ask(messages) -> Reply`. name: of the model; attempts: requests per item over all runs."""

    def __init__(
        self,
        name: str,
        ask: Callable[[Messages], Reply],
        *,
        store: ReplyStore,
        attempts: int = 3,
        parallel: int = 1,
        lenient: bool = False,
    ) -> None:
        self.name = f"{name}-lenient" if lenient else name
        self.model, self.ask, self.store = name, ask, store
        self.attempts, self.parallel, self.lenient = attempts, parallel, lenient
        self._storing = Lock()

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item, in order; items that were judged before are not asked again."""
        keys = [self.key(item) for item in items]
        for _ in range(self.attempts):
            open_items = {key: item for key, item in zip(keys, items, strict=True) if self._is_open(key, item)}
            if not open_items:
                break
            self._round(open_items)
        given = [self.store.replies.get(key, []) for key in keys]
        return [verdict_of(item, one, lenient=self.lenient) for item, one in zip(items, given, strict=True)]

    def key(self, item: Item) -> str:
        """Of the model and everything it is told."""
        return reply_key(self.model, item)

    def _round(self, items: dict[str, Item]) -> None:
        """Ask for each item once. After a failure nothing more is asked; what is under way is still kept."""
        with ThreadPoolExecutor(self.parallel) as pool:
            asked = [pool.submit(self._ask, key, item) for key, item in items.items()]
            try:
                for one in as_completed(asked):
                    one.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _ask(self, key: str, item: Item) -> None:
        """A reply is paid for: it is on disk before this thread asks for another."""
        try:
            reply = self.ask(item.messages)
            with self._storing:
                self.store.add(item, key, reply, model=self.model)
        except Exception as error:
            error.add_note(f"while judging {item.uid}, replies in {self.store.path}")
            raise

    def _is_open(self, key: str, item: Item) -> bool:
        given = self.store.replies.get(key, [])
        return len(given) < self.attempts and not verdict_of(item, given, lenient=self.lenient).parsed
