"""Judges that ask nobody: replies recorded earlier, and plain comparison with the reference answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from vidalign.common.errors import DataError
from vidalign.scoring.judge import Item, Verdict, read_verdict, reply_key, verdict_of


class MatchJudge:
    """Right when `match(said, answer)`; gives no scores. name: "exact" or "contained"."""

    def __init__(self, name: str, match: Callable[[str, str], bool]) -> None:
        self.name, self.match = name, match

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item; protocols that ask for a score only stay unparsed."""
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Verdict:
        if "pred" not in item.fields or item.protocol != "open_ended":
            return Verdict(item.uid)
        return Verdict(item.uid, correct=self.match(item.fields["pred"], item.fields["a"]))


class RecordedJudge:
    """Replies from a JSON Lines file: what another judge said earlier.

    Lines {"uid", "reply"}, also {"protocol", "source"}: the last line of a uid (and protocol, where the line names one)
    that can be read counts. A file kept by ChatJudge holds several runs' answers, so its lines {"model", "key", ...}
    count for what the model was told, whatever the uid, and the first that can be read counts, as for ChatJudge itself.
    An item without a line is unparsed.
    """

    def __init__(self, path: Path | str, *, name: str | None = None, lenient: bool = False) -> None:
        self.path, self.lenient = Path(path), lenient
        self._replies: dict[tuple[str, str | None], list[str]] = {}
        self._kept: dict[str, list[str]] = {}
        self._models: set[str] = set()
        sources = set()
        for number, line in enumerate(self._lines(), start=1):
            try:
                row = json.loads(line)
                if "key" in row:
                    # Lines of earlier versions name no model; the file is called after it.
                    self._models.add(str(row.get("model", self.path.stem)))
                    self._kept.setdefault(row["key"], []).append(str(row["reply"]))
                else:
                    self._replies.setdefault((row["uid"], row.get("protocol")), []).append(str(row["reply"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                text = '{"uid": ..., "reply": ...} expected'
                raise DataError(f"{self.path}, line {number}: {text} ({type(error).__name__}: {error})") from error
            sources.add(row.get("source"))
        source = sources.pop() if len(sources) == 1 else None
        self.name = name or f"recorded-{source or self.path.stem}"

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item, in order."""
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Verdict:
        kept = [reply for model in self._models for reply in self._kept.get(reply_key(model, item), [])]
        if kept:
            return verdict_of(item, kept, lenient=self.lenient)
        given = [
            read_verdict(item.uid, reply, protocol=item.protocol, lenient=self.lenient)
            for key in ((item.uid, item.protocol), (item.uid, None))
            for reply in self._replies.get(key, [])
        ]
        read = [verdict for verdict in given if verdict.parsed]
        return (read or given or [Verdict(item.uid)])[-1]

    def _lines(self) -> list[str]:
        try:
            return [line for line in self.path.read_text(encoding="utf-8").split("\n") if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}: cannot be read as recorded replies: {error}") from error
