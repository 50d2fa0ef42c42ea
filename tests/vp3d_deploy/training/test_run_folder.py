"""The record of a run: where training may begin, where it may go on, and what it says if not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vp3d_deploy.training.presets import PRESETS
from vp3d_deploy.training.run_folder import RunError, RunFolder
from vp3d_deploy.training.settings import SettingsError, TrainingSettings

SETTINGS = PRESETS["h36m-27f-semi"].settings  # has lists and numbers
FACTS: dict[str, Any] = {
    "preset": "h36m-27f-semi",
    "command": "vp3d-train h36m-27f-semi",
    "data": {"folder": "h36m", "labelled": {"clips": 3}, "sha256": "abc"},
    "versions": {"torch": "2.5"},
}


def begun(path: Path, finished: bool = False) -> RunFolder:
    folder = RunFolder(path / "deep" / "run")
    folder.check_new()
    folder.begin(SETTINGS, FACTS)
    if finished:
        folder.write(SETTINGS, FACTS, finished=True)
    return folder


def edited(folder: RunFolder, **changes: Any) -> None:
    record = json.loads(folder.record_file.read_text("utf-8"))
    record.update(changes)
    kept = {key: value for key, value in record.items() if value is not ...}
    folder.record_file.write_text(json.dumps(kept), "utf-8")


def test_a_run_is_recorded_and_goes_on_with_the_same_settings(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]
    record = folder.resume(TrainingSettings.from_dict(SETTINGS.to_dict()))
    assert {name: record[name] for name in FACTS} == FACTS
    assert (record["format"], record["version"]) == ("vp3d-training-run", 1)
    assert record["finished"] is False
    assert TrainingSettings.from_dict(record["settings"]) == SETTINGS
    # What was read is what is written when the run ends.
    folder.write(SETTINGS, record, finished=True)
    assert folder.read() == {**record, "finished": True}
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]


def test_files_have_the_names_that_the_documentation_gives(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    paths = (folder.record_file, folder.checkpoint, folder.state, folder.results, folder.curves)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "run.json", "checkpoint.pth", "last.ckpt", "results.json", "curves.png",
    ]  # fmt: skip


def test_training_begins_in_new_and_in_empty_folders_only(tmp_path: Path) -> None:
    RunFolder(tmp_path / "new").check_new()
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").check_new()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"full is there and not empty.*new folder"):
        RunFolder(tmp_path / "full").check_new()
    with pytest.raises(RunError, match=r"file is a file; give --out a new folder"):
        RunFolder(tmp_path / "file").check_new()


def test_a_folder_with_a_run_is_told_apart_from_others(tmp_path: Path) -> None:
    interrupted = begun(tmp_path / "a")
    interrupted.check_new()  # nothing is lost before the first epoch is done
    interrupted.state.touch()
    with pytest.raises(RunError, match="interrupted; add --resume to go on"):
        interrupted.check_new()
    with pytest.raises(RunError, match="holds a finished run; give --out a new folder"):
        begun(tmp_path / "b", finished=True).check_new()
    damaged = begun(tmp_path / "c")
    damaged.record_file.write_text("{")
    with pytest.raises(RunError, match="run.json is damaged"):
        damaged.check_new()


def test_resuming_needs_a_run_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run to resume; leave --resume out"):
        RunFolder(tmp_path).resume(SETTINGS)
    with pytest.raises(RunError, match="finished run; there is nothing to resume"):
        begun(tmp_path / "b", finished=True).resume(SETTINGS)


def test_resuming_with_other_settings_names_every_difference(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    other = replace(SETTINGS, channels=256, subjects=("S1", "S5"), unlabelled_subjects=("S6",))
    with pytest.raises(RunError) as caught:
        folder.resume(other)
    said = str(caught.value)
    for part in (
        "channels 1024, not 256",
        "subjects ['S1'], not ['S1', 'S5']",
        "unlabelled_subjects ['S5', 'S6', 'S7', 'S8'], not ['S6']",
        "resume it with the same settings, or give --out a new folder",
    ):
        assert part in said
    assert "epochs" not in said


def test_resuming_on_other_data_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    record = folder.resume(SETTINGS)
    data = record["data"]
    folder.check_data(record, {**data, "folder": "a copy"})
    with pytest.raises(RunError, match="begun on other data.*SHA-256 abc.*SHA-256 def"):
        folder.check_data(record, {**data, "sha256": "def"})
    with pytest.raises(RunError, match="begun on other data"):
        folder.check_data(record, {**data, "labelled": {"clips": 4}})


def test_settings_that_a_record_lacks_have_their_defaults(tmp_path: Path) -> None:
    """A run begun before a field existed was trained with what is its default now."""
    folder = RunFolder(tmp_path / "run")
    folder.begin(TrainingSettings(), FACTS)
    edited(folder, settings={"epochs": 160})
    assert folder.resume(TrainingSettings())["settings"] == {"epochs": 160}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "vp3d-bundle"}, "is not the record of a training run"),
        ({"format": ...}, "is not the record of a training run"),
        ({"version": 2}, "has version 2, this program reads 1"),
        ({"settings": ...}, "run.json is damaged: it lacks settings"),
        ({"finished": ..., "data": ...}, "run.json is damaged: it lacks data, finished"),
        ({"finished": "no"}, "run.json is damaged: its values are of the wrong kind"),
    ],
)
def test_a_foreign_record_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    folder = begun(tmp_path)
    edited(folder, **changes)
    for attempt in (folder.read, lambda: folder.resume(SETTINGS), folder.check_new):
        with pytest.raises(RunError, match=says):
            attempt()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", "[]", "null", "17"])
def test_a_damaged_record_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    folder = begun(tmp_path)
    folder.record_file.write_text(text)
    with pytest.raises(RunError, match="run.json"):
        folder.resume(SETTINGS)


def test_a_record_with_settings_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    edited(folder, settings={**SETTINGS.to_dict(), "colour": "red"})
    with pytest.raises(SettingsError, match="unknown fields colour"):
        folder.resume(SETTINGS)
    edited(folder, settings=None)
    with pytest.raises(SettingsError, match="settings are None"):
        folder.resume(SETTINGS)


def test_writing_replaces_the_record_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    before = folder.record_file.read_bytes()
    with pytest.raises(TypeError):
        folder.write(SETTINGS, {**FACTS, "preset": object()}, finished=True)
    assert folder.record_file.read_bytes() == before
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]
