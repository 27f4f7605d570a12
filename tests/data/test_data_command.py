"""`vidalign data`: from annotation files to samples on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vidalign.cli import main
from vidalign.common.errors import ConfigError, DataError
from vidalign.runners.annotations import dataset_name, parse_settings, read_annotations
from vidalign.runners.prepare import main as prepare

ROW = '{"example_id": 7, "vid_name": "a_ep", "ts": [1, 2], "events": ["x", "y"], "answer": 1}\n'


def test_json_lines_of_a_file_or_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW)
    (tmp_path / "vlep_train_release.jsonl").write_text(ROW)
    (tmp_path / "other.jsonl").write_text(ROW)
    assert main(["data", str(tmp_path), "--dataset", "VLEP", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["uid"] for row in rows] == ["vlep/val/7", "vlep/train/7"]
    assert rows[0]["answer"] == "y" and rows[0]["media"]["path"] == "a.mp4"
    file = tmp_path / "vlep_train_release.jsonl"
    assert main(["data", str(file), "--dataset", "vlep", "--json"]) == 0
    assert [json.loads(line)["split"] for line in capsys.readouterr().out.splitlines()] == ["train"]


def test_a_file_of_another_name_is_read_as_given(tmp_path: Path) -> None:
    (tmp_path / "my_dev_rows.jsonl").write_text(ROW)
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW * 2)
    [one] = read_annotations(tmp_path / "my_dev_rows.jsonl", dataset="vlep")
    assert (one.found.split, len(one.samples)) == ("val", 1)
    [named] = read_annotations(tmp_path / "my_dev_rows.jsonl", dataset="vlep", split="odd")
    assert named.samples[0].uid == "vlep/odd/7"


def test_the_table_counts_and_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    same = ROW.replace('"y"', '"x"').replace("7", "8").replace(', "answer": 1', "")
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW + same)
    assert main(["data", str(tmp_path), "--dataset", "vlep", "--media"]) == 0
    shown = capsys.readouterr().out
    assert "1 with equal options: vlep/val/8" in shown and "1 without a label: vlep/val/8" in shown
    assert "2 videos not in" in shown and " 4392 " in shown
    assert main(["data", str(tmp_path), "--dataset", "vlep", "--check"]) == 2
    assert "2 rows, the published file has 4392" in capsys.readouterr().err


def test_mistakes_are_told(tmp_path: Path) -> None:
    assert dataset_name("NExT-QA") == "nextqa" and dataset_name("nextqa_mc") == "nextqa"
    with pytest.raises(ConfigError, match="Did you mean 'vlep'"):
        dataset_name("vlap")
    with pytest.raises(DataError, match="no annotation file of vlep in it"):
        list(read_annotations(tmp_path, dataset="vlep"))
    with pytest.raises(DataError, match="does not exist"):
        list(read_annotations(tmp_path / "no", dataset="vlep"))
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW)
    with pytest.raises(ConfigError, match="--options: subtitle = true: unknown key. Did you mean subtitles?"):
        list(read_annotations(tmp_path, dataset="vlep", settings={"subtitle": True}))
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_settings(["subtitles"], "vlep")
    given = ["subtitles=true", "max_samples=3", "videos=7", "extract.fps=2"]
    read = parse_settings(given, "VLEP")
    assert (read["subtitles"], read["max_samples"], read["videos"], read["extract"].fps) == (True, 3, "7", 2.0)
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW)
    [one] = read_annotations(tmp_path, dataset="vlep", settings=read | {"subtitles": False})
    assert one.builder.config.videos == "7" and one.builder.config.extract.fps == 2.0


@pytest.mark.parametrize(
    ("dataset", "option", "says"),
    [
        ("how2qa", "official_order=fasle", "official_order = 'fasle': true or false is wanted"),
        ("vlep", "max_samples=-5", "max_samples = -5: must be at least 1. The nearest legal value is 1."),
        ("vlep", "max_samples=abc", "max_samples = 'abc': a whole number is wanted"),
        ("tgif_qa", "kind=[", "kind = '[': the value is malformed"),
        ("tgif_qa", "kind=fram", "kind = 'fram': is not one of action, transition, frameqa, count. Did you mean"),
        ("lvu", "task=scenes", "Did you mean 'scene'?"),
        ("vlep", "subtitle=true", "subtitle = true: unknown key. Did you mean subtitles?"),
        ("vlep", "root=x", "root: the folder of the file that is read. Remove it."),
        ("vlep", "missing_features=zero", "Did you mean 'zeros'?"),
    ],
)
def test_options_are_checked_as_a_config(
    dataset: str, option: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    where = ["--dataset", dataset, "--options", option]
    (tmp_path / "p.jsonl").write_text("")
    commands = [["data", str(tmp_path)], ["score", str(tmp_path / "p.jsonl"), "--annotations", str(tmp_path)]]
    codes = [main([*command, *where]) for command in commands]
    codes.append(prepare(dataset, [str(tmp_path), "--options", option]))
    told = capsys.readouterr().err
    assert codes == [2, 2, 2] and told.count(f"  --options: {option.split('=')[0]}") == 3, told
    assert told.count(says) == 3, told


def test_rules_between_settings_and_odd_file_names_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--options", "features=a.pth", "extract.fps=2", "max_samples=0"]
    assert main(["data", str(tmp_path), "--dataset", "vlep", *options]) == 2
    assert "max_samples = 0" in capsys.readouterr().err
    assert main(["data", str(tmp_path), "--dataset", "vlep", *options[:-1]]) == 2
    assert "--options: extract: `features` names a file and `extract` makes one" in capsys.readouterr().err
    (tmp_path / "Test_frame_question.csv").write_text("")
    assert main(["data", str(tmp_path), "--dataset", "tgif_qa"]) == 2
    assert "Test_frame_question.csv: kind = 'frame': is not one of" in capsys.readouterr().err


def test_it_imports_nothing_heavy(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW)
    code = (
        "import sys\nfrom vidalign.cli import main\n"
        f"assert main(['data', {str(tmp_path)!r}, '--dataset', 'vlep', '--json']) == 0\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules), sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, capture_output=True)
