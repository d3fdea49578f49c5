"""The command line as a user meets it: exit codes, files, messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the field's own abbreviation

from CovidLesionSegLib.cli import main
from CovidLesionSegLib.engine.phantom import Phantom
from CovidLesionSegLib.resources import resources_dir

FILES = {
    "segmentation.seg.nrrd",
    "probability.nii.gz",
    "boundary.nii.gz",
    "lobes.csv",
    "overview.png",
    "scene.mrb",
    "result.json",
}


@pytest.fixture(scope="module")
def output(phantom_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "new" / "folder"
    assert main(["segment", str(phantom_file), "-o", str(folder), "--quiet"]) == 0
    return folder


def test_writes_every_file_and_nothing_else(output: Path) -> None:
    assert {path.name for path in output.iterdir()} == FILES
    assert all(path.stat().st_size > 0 for path in output.iterdir())


def test_maps_lie_on_exactly_the_input_grid(output: Path, phantom_file: Path) -> None:
    ct = sitk.ReadImage(str(phantom_file))
    for name in ("probability.nii.gz", "boundary.nii.gz"):
        image = sitk.ReadImage(str(output / name))
        assert image.GetSize() == ct.GetSize()
        assert image.GetOrigin() == pytest.approx(ct.GetOrigin(), abs=1e-4)
        assert image.GetSpacing() == pytest.approx(ct.GetSpacing(), abs=1e-6)
        assert image.GetDirection() == pytest.approx(ct.GetDirection(), abs=1e-6)
        values = sitk.GetArrayFromImage(image)
        assert values.min() >= 0.0
        assert 0.3 < values.max() <= 1.0


def test_two_runs_differ_in_nothing_but_their_timings(
    output: Path, phantom_file: Path, tmp_path: Path
) -> None:
    main(["segment", str(phantom_file), "-o", str(tmp_path), "--quiet"])
    first, second = (json.loads((d / "result.json").read_text()) for d in (output, tmp_path))
    assert first.pop("timings_s")
    assert second.pop("timings_s")
    assert json.dumps(first) == json.dumps(second)
    for name in ("segmentation.seg.nrrd", "probability.nii.gz", "boundary.nii.gz", "lobes.csv"):
        assert (output / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_a_folder_beside_the_user_takes_every_file(
    phantom_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("ü ber [x]", "a [b]")  # brackets are what MRML and rich stumble over
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "result.json").write_text("of an earlier run")
    assert main(["segment", str(phantom_file), "-o", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == FILES
    assert zipfile.is_zipfile(folder / "scene.mrb")
    assert (folder / "scene.mrb").stat().st_size > 100_000
    assert str(folder / "overview.png") in capsys.readouterr().out


def test_json_goes_alone_to_standard_output(
    phantom_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(phantom_file), "-o", str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads((tmp_path / "result.json").read_text())
    assert shown.err == ""


def test_the_demo_speaks_as_segment_does(
    phantom_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--ct", str(phantom_file), "-o", str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads((tmp_path / "result.json").read_text())
    assert "Demo on" in shown.err


def test_an_unset_variable_is_not_the_current_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", "", "-o", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert "the path is empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lung.lesions.csv", "lesions.csv", "x.review-log.csv"])
def test_a_reviewed_result_is_not_replaced(
    phantom_file: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("a person's work")
    assert main(["segment", str(phantom_file), "-o", str(tmp_path)]) == 2
    assert "holds a review" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_phantom_replaces_nothing_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ct_lungs.nii.gz").write_text("somebody's")
    assert main(["phantom", str(tmp_path / "ct.nii.gz")]) == 2
    assert "ct_lungs.nii.gz would be replaced" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["ct_lungs.nii.gz"]


@pytest.mark.parametrize("command", [["models", "list"], ["phantom", "small.nii.gz"]])
def test_a_reader_that_has_seen_enough_is_no_fault(command: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "CovidLesionSegLib.cli", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()  # before the first line, as ``| head -0`` would
    _, complaint = process.communicate(timeout=60)
    assert complaint == ""
    assert process.returncode == 141


def test_the_table_is_printed_without_quiet(
    phantom_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["segment", str(phantom_file), "-o", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "Infected %" in shown
    assert "approximate" in shown
    assert str(tmp_path / "scene.mrb") in shown.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--threshold", "1.5"], "0.01 and 0.99"),
        (["--threshold", "nan"], "0.01 and 0.99"),
        (["--device", "tpu"], "no device"),
        (["--device", "cuda:99"], "no device"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--weights", "missing.safetensors"], "missing.safetensors"),
        (["--lobes", "missing.nrrd"], "missing.nrrd"),
    ],
)
def test_a_wrong_option_is_a_plain_error(
    arguments: list[str],
    code: str,
    phantom_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "out"
    assert main(["segment", str(phantom_file), "-o", str(folder), "--quiet", *arguments]) == 2
    assert code in capsys.readouterr().err
    assert not folder.exists()


def test_a_bad_input_leaves_no_output_and_an_old_result_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "ct.nii.gz"
    broken.write_bytes(b"this is no image")
    folder = tmp_path / "out"
    assert main(["segment", str(broken), "-o", str(folder)]) == 2
    assert not folder.exists()
    folder.mkdir()
    (folder / "result.json").write_text("old")
    assert main(["segment", str(broken), "-o", str(folder)]) == 2
    assert [path.name for path in folder.iterdir()] == ["result.json"]
    assert (folder / "result.json").read_text() == "old"
    assert "Traceback" not in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused(
    phantom_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    target.write_text("a file")
    assert main(["segment", str(phantom_file), "-o", str(target), "--quiet"]) == 2
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_interrupt_ends_with_130_and_leaves_nothing(
    name: str, phantom_file: Path, tmp_path: Path
) -> None:
    number = signal.Signals[name]
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "CovidLesionSegLib.cli",
            "segment",
            str(phantom_file),
            *("-o", str(folder)),
        ],
        stderr=subprocess.PIPE,
        text=True,
        # A background job starts with interrupts ignored; a user at a terminal does not.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert process.stderr is not None
    process.stderr.readline()  # the first stage has begun
    time.sleep(0.3)
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert not folder.exists()


def test_python_api_gives_what_the_command_gives(
    phantom: Phantom, output: Path, phantom_file: Path
) -> None:
    from CovidLesionSegLib import segment

    bundled = Path(resources_dir(), "Weights", "inf-net-lite.safetensors")
    result = segment(str(phantom_file), weights=str(bundled))
    saved = json.loads((output / "result.json").read_text())
    total = result.quantification.row("total").measures["infected_percent"].value
    rows = {row["region"]: row for row in saved["quantification"]["rows"]}
    assert rows["total"]["measures"]["infected_percent"]["value"] == pytest.approx(total, rel=1e-5)
    assert result.infection.shape == phantom.hu.shape
    assert np.isin(result.infection, (0, 1)).all()
