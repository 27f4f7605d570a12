"""Video-paragraph retrieval: what ActivityNet Captions, QuerYD, DiDeMo and Condensed Movies share, and the first two.

Specification benchmarks, section 12; the others are in didemo.py and condensed_movies.py. One Sample per video: its
sentences in `texts` in the order of the file, their times in `text_spans`, the joined paragraph in `answer`. LF-VILA's
`<split>.jsonl` (`clip_id`, `text` as a string or a list) is read for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, read_json_object, read_jsonl, read_words

Spans = tuple[tuple[float, float], ...]


class ParagraphBuilder(AnnotationBuilder):
    """Base of the four: a video with its sentences becomes a Sample."""

    def paragraph(
        self,
        row: Row,
        split: str,
        *,
        video: str,
        path: str,
        texts: Sequence[str],
        spans: Spans = (),
        duration: float | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Sample:
        """A Sample of the task retrieval; uid by the video."""
        return Sample(
            uid=self.uid(split, video),
            dataset=self.info.name,
            split=split,
            task="retrieval",
            media=self.media(video, path, duration_seconds=duration),
            answer=" ".join(texts),
            texts=tuple(texts),
            text_spans=spans,
            meta={"row": row.index, **(meta or {})},
        )

    def processed(self, row: Row, split: str) -> Sample:
        """A line of LF-VILA's jsonl."""
        video, text = row.text("clip_id"), row.get("text")
        texts = [row.as_text("text", one) for one in (text if isinstance(text, list) else [text])]
        meta = row.rest(("clip_id", "text"))
        return self.paragraph(row, split, video=video, path=f"{video}.mp4", texts=texts, meta=meta)

    def sample(self, row: Row, split: str) -> Sample:
        """A line of LF-VILA's jsonl; the builders below override it for the raw files."""
        return self.processed(row, split)


class ActivityNetCaptions(ParagraphBuilder):
    """`<split>.json` {v_<id>: {duration, timestamps, sentences}}; splits train, val_1, val_2 (the same videos again).

    Sentences lose the blanks around them. A segment that ends after the video is cut at its end, one whose times stand
    the wrong way round is turned; meta["corrected"] lists both kinds by their places.
    """

    info = DatasetInfo(
        name="activitynet_captions",
        task="retrieval",
        headline="R@1",
        expected_counts={"train": 10009, "val_1": 4917, "val_2": 4885},
    )
    expected_rows: ClassVar = {"val_1": 17505, "val_2": 17031}
    patterns: ClassVar = ("{split}.json", "{split}.jsonl")

    @classmethod
    def find(cls, place: Path, split: str | None = None) -> list[FoundFile]:
        """`val_ids.json` stands for the annotations of its videos, val_1 and val_2."""
        if not (place.is_file() and place.name.endswith("_ids.json")):
            return super().find(place, split)
        part = place.name.removesuffix("_ids.json")
        return [one for one in super().find(place.parent, split) if one.split.startswith(part)]

    def rows_of(self, split: str) -> Iterable[Row]:
        """One row per video, its name as "video"."""
        path = self.split_file(split)
        if path.suffix == ".jsonl":
            return read_jsonl(path)
        content = read_json_object(path, "{v_<id>: {duration, timestamps, sentences}}")
        if not all(isinstance(one, dict) for one in content.values()):
            raise DataError(f"{path}: an object {{v_<id>: {{duration, timestamps, sentences}}}} expected")
        return [
            Row(path, f"video {name}", index, {**values, "video": name})
            for index, (name, values) in enumerate(content.items())
        ]

    def read(self, split: str) -> Iterable[Sample]:
        """All videos; the sentences are counted too."""
        samples = list(super().read(split))
        self.count_rows(split, sum(len(sample.texts) for sample in samples), "sentences")
        return samples

    def sample(self, row: Row, split: str) -> Sample:
        """uid `activitynet_captions/<split>/v_<id>`."""
        if "clip_id" in row.values:
            return self.processed(row, split)
        times, sentences, duration = row.get("timestamps"), row.get("sentences"), row.number("duration")
        if not isinstance(times, list) or not isinstance(sentences, list) or len(times) != len(sentences):
            raise row.error("timestamps", "as many [start, end] as there are sentences expected")
        spans, corrected = [], []
        for place, pair in enumerate(times):
            if not isinstance(pair, list) or len(pair) != 2:
                raise row.error("timestamps", "[start, end] in seconds expected")
            given = [row.as_number("timestamps", value) for value in pair]
            start, end = sorted(given)
            spans.append((min(start, duration), min(end, duration)))
            if [start, end] != given or end > duration:
                corrected.append(place)
        video = row.text("video")
        return self.paragraph(
            row,
            split,
            video=video,
            path=f"{video}.mp4",
            texts=[row.as_text("sentences", one).strip() for one in sentences],
            spans=tuple(spans),
            duration=duration,
            meta={"corrected": corrected, "timestamps": times} if corrected else None,
        )


class QuerYD(ParagraphBuilder):
    """`<split>.json` {video: [{text, start, end}]}, LF-VILA's `<split>.jsonl`, or the list of links alone.

    The split `links` reads `relevant-video-links-v2.txt`: videos without text, to see which of them are there.
    """

    info = DatasetInfo(name="queryd", task="retrieval", headline="R@1")
    expected_rows: ClassVar = {"links": 2926}
    patterns: ClassVar = ("relevant-video-links-v2.txt", "{split}.jsonl", "{split}.json")

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The list of links is a split of its own."""
        return ["links"]

    def rows_of(self, split: str) -> Iterable[Row]:
        """One row per video, its name as "video" and its segments as "segments"."""
        names = (self.patterns[0],) if split == "links" else (f"{split}.jsonl", f"{split}.json")
        path = self.given or self.file(*names)
        if path.suffix == ".jsonl":
            return read_jsonl(path)
        if path.suffix == ".txt":
            links = read_words(path)
            ids = [link.rpartition("v=")[2] for link in links]
            self.count_rows(split, len(ids), "links")
            self.left_out += [f"line {i + 1}: {one} a second time" for i, one in enumerate(ids) if one in ids[:i]]
            videos = dict.fromkeys(ids)
            return [Row(path, f"link {i + 1}", i, {"video": one, "segments": []}) for i, one in enumerate(videos)]
        rows = []
        for index, (video, value) in enumerate(read_json_object(path, "from video to its descriptions").items()):
            segments = value.get("segments") if isinstance(value, dict) else value
            rows.append(Row(path, f"video {video}", index, {"video": video, "segments": segments}))
        return rows

    def sample(self, row: Row, split: str) -> Sample:
        """uid `queryd/<split>/<video>`; descriptions in the order of their times."""
        if "clip_id" in row.values:
            return self.processed(row, split)
        video, segments = row.text("video"), row.get("segments")
        if not isinstance(segments, list) or not all(isinstance(one, dict) and "text" in one for one in segments):
            raise row.error("segments", "a list of {text, start, end} expected")
        segments = sorted(segments, key=lambda one: row.as_number("segments", one.get("start") or 0))
        timed = all("start" in one and "end" in one for one in segments)
        spans = tuple(row.check_span("segments", one["start"], one["end"]) for one in segments) if timed else ()
        return self.paragraph(
            row,
            split,
            video=video,
            path=f"{video}.mp4",
            texts=[row.as_text("segments", one["text"]).strip() for one in segments],
            spans=tuple(span for span in spans if span is not None),
        )
