"""Judges that ask nobody: replies recorded earlier, and plain comparison with the reference answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from vidalign.common.errors import DataError
from vidalign.scoring.judge import Item, Verdict, read_verdict


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
    """Replies from a JSON Lines file, by uid (and protocol where a line names one): what another judge said earlier.

    Lines {"uid", "reply"}, also {"protocol", "source"}; files kept by ChatJudge are such files. The last line of a uid
    that can be read counts. An item without a line is unparsed.
    """

    def __init__(self, path: Path | str, *, name: str | None = None, lenient: bool = False) -> None:
        self.path, self.lenient = Path(path), lenient
        self._replies: dict[tuple[str, str | None], list[str]] = {}
        sources = set()
        for number, line in enumerate(self._lines(), start=1):
            try:
                row = json.loads(line)
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
