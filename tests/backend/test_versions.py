"""Trained versions on disk: which are kept, and which of them answers a project."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from maskbridge.adapter import MaskRCNN, SettingsError
from maskbridge.backend.inference.registry import MAX_LOADED, ModelRegistry, ServingModel, load, trained_variant
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.training import versions
from maskbridge.backend.training.trainer import Trainer
from maskbridge.backend.web.metrics import Metrics
from maskbridge.labelstudio.model_version import model_version
from shapes import SMALL


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def write(folder: Path, name: str, project: str, *, kilobytes: int = 1, **facts: str) -> Path:
    path = folder / f"label-studio-{project}-{name}.safetensors"
    values = {"a": torch.zeros(250 * kilobytes)}
    save_file(values, path, {"model_version": name, "project": project, "mask_mAP": "0.5", **facts})
    return path


def test_versions_say_what_they_are_and_other_files_do_not(weights: Path) -> None:
    write(weights, "20260101-000000", "7")
    newer = write(weights, "20260102-000000", "7")
    write(weights, "20260103-000000", "8", mask_mAP="good")
    (weights / "label-studio-7-broken.safetensors").write_bytes(b"\xff" * 100)
    save_file({"a": torch.zeros(1)}, weights / "other.safetensors", {"model_version": "x"})
    known = versions.trained()
    assert [version.name for version in known] == ["20260102-000000", "20260101-000000"]
    assert known[0] == versions.Version("20260102-000000", 7, newer, 0.5)
    assert versions.new_file(7).parent == weights


def test_old_versions_go_by_number_and_by_disk_but_never_a_used_one(weights: Path) -> None:
    for day in range(1, 6):
        write(weights, f"2026010{day}", "7")
    write(weights, "20260101", "8")
    gone = versions.prune({weights / "label-studio-7-20260101.safetensors"}, max_versions=2, max_megabytes=1)
    assert sorted(path.name for path in gone) == [f"label-studio-7-2026010{day}.safetensors" for day in (2, 3)]
    assert [version.name for version in versions.trained() if version.project == 7] == [
        "20260105",
        "20260104",
        "20260101",
    ]
    write(weights, "20260106", "7", kilobytes=600)
    write(weights, "20260107", "8", kilobytes=600)
    gone = versions.prune({weights / "label-studio-8-20260107.safetensors"}, max_versions=10, max_megabytes=1)
    assert weights / "label-studio-8-20260107.safetensors" not in gone
    assert weights / "label-studio-7-20260106.safetensors" in gone
    assert sum(path.stat().st_size for path in weights.iterdir()) < 1_000_000


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"7": 5}'])
def test_a_broken_note_of_choices_is_none(text: str, weights: Path) -> None:
    (weights / versions.CHOSEN).write_text(text)
    assert set(versions.chosen()) <= {7}
    versions.choose(9, "v")
    assert versions.chosen()[9] == "v"


@pytest.fixture(scope="module")
def small() -> MaskRCNN:
    return MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL))


def trained_file(model: MaskRCNN, folder: Path, project: str, name: str) -> ServingModel:
    path = folder / f"label-studio-{project}-{name}.safetensors"
    version = f"{project}-{name}-{model_version(model)}"
    model.save(path, extra={"model_version": version, "project": project, "mask_mAP": "0.4"})
    return ServingModel(model, version)


@pytest.fixture
def models(small: MaskRCNN) -> ModelRegistry:
    def load_file(file: Path) -> ServingModel:
        known = versions.version_of(file)
        assert known is not None
        return replace(load(ServerSettings(), file), version=known.name)

    return ModelRegistry(ServingModel(small, "own"), load_file)


def test_each_project_has_its_version(small: MaskRCNN, weights: Path, models: ModelRegistry) -> None:
    first, second = (trained_file(small, weights, "7", name) for name in ("1", "2"))
    assert models.get(7).version == "own"
    models.swap(7, first.version, first)
    models.swap(7, second.version, second)
    assert models.get(7) is second
    assert models.get(8).version == "own"
    assert models.versions(7) == [second.version, first.version, "own"]
    assert models.versions(8) == ["own"]
    models.request(7, first.version)
    assert models.get(7).version == first.version
    models.request(7, None)
    assert models.get(7) is second
    assert models.used() == {weights / "label-studio-7-2.safetensors"}
    for project, name in ((8, second.version), (7, "nosuch")):
        with pytest.raises(SettingsError, match=f"project {project} has no model version"):
            models.request(project, name)
    again = ModelRegistry(models.own, models._load_file)
    assert again.get(7).version == second.version, "as noted on disk"


def test_a_version_that_is_gone_or_broken_gives_way_to_the_servers_own(
    small: MaskRCNN, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = [trained_file(small, weights, number, "1") for number in ("7", "8")]
    for number, serving in zip(("7", "8"), kept):
        versions.choose(int(number), serving.version)
    (weights / "label-studio-7-1.safetensors").unlink()
    header = (weights / "label-studio-8-1.safetensors").read_bytes()
    (weights / "label-studio-8-1.safetensors").write_bytes(header[: len(header) // 2])
    write(weights, "20260101", "9")
    versions.choose(9, "20260101")
    models = ModelRegistry(ServingModel(small, "own"), lambda file: load(ServerSettings(), file))
    assert [models.get(project).version for project in (7, 8, 9)] == ["own"] * 3
    assert caplog.text.count("is missing or corrupt") == 2
    assert "not torchvision's Mask R-CNN" in caplog.text


def test_few_models_are_in_memory(small: MaskRCNN, weights: Path, models: ModelRegistry) -> None:
    for number in range(MAX_LOADED + 2):
        serving = trained_file(small, weights, str(number), "1")
        models.swap(number, serving.version, serving)
    assert len(models._loaded) == MAX_LOADED
    assert [models.get(number).version[:1] for number in range(MAX_LOADED + 2)] == ["0", "1", "2", "3", "4"]


def test_a_pinned_version_wins_until_a_better_one_comes(small: MaskRCNN, weights: Path) -> None:
    old, new = (trained_file(small, weights, "7", name) for name in ("1", "2"))
    versions.choose(7, new.version)
    (pinned,) = (version for version in versions.trained() if version.name == old.version)
    models = ModelRegistry(old, lambda file: new, pinned=pinned)
    assert models.get(7).version == old.version
    models.swap(7, new.version, new)
    assert models.get(7) is new
    assert json.loads((weights / versions.CHOSEN).read_text()) == {"7": new.version}


def test_a_folder_that_cannot_be_read_holds_no_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path / "nosuch"))
    assert versions.trained() == []
    assert versions.chosen() == {}
    assert versions.prune(set(), max_versions=1, max_megabytes=1) == []


def test_what_a_killed_server_left_is_removed_but_not_what_is_being_trained(tmp_path: Path, small: MaskRCNN) -> None:
    left, running, others = (tmp_path / "training_runs" / name for name in ("label-studio-7-1", "label-studio-8-1", "mine"))
    for folder in (left, running, others):
        folder.mkdir(parents=True)
        (folder / "last.safetensors").write_bytes(b"half")
    with FileLock(running / ".lock"):
        models = ModelRegistry(ServingModel(small, "own"), lambda file: load(ServerSettings(), file))
        Trainer(ServerSettings(), models, Metrics())
    assert [folder.exists() for folder in (left, running, others)] == [False, True, True]


def test_trained_versions_are_named_with_the_servers_engine(small: MaskRCNN, weights: Path) -> None:
    """Choices on disk outlive a change of the engine."""
    serving = trained_file(small, weights, "7", "1")
    versions.choose(7, serving.version)
    names = []
    for engine in ("torch", "onnxruntime", "torch"):
        own = MaskRCNN("bundled", engine=engine, progress=False)  # type: ignore[arg-type]
        variant = trained_variant(ServerSettings(device="cpu", engine=engine))  # type: ignore[arg-type]
        models = ModelRegistry(ServingModel(own, model_version(own)), lambda file: serving, variant=variant)
        assert models.get(7) is serving
        names.append(models.version_of(7))
        assert models.versions(7) == [names[-1], model_version(own)]
        models.request(7, names[-1])
        assert models.version_of(7) == names[-1]
        assert models.file_of(7) in models.used()
    assert names[0] == names[2] == serving.version
    assert "-onnxruntime-float32-" in names[1]
    assert names[0] not in names[1]
