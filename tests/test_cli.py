"""boostgrad.cli: the demonstration, its files and its complaints."""

import os
import subprocess
import sys

import numpy as np
import pytest

import boostgrad
from boostgrad import BoostGradClassifier, BoostGradRegressor, cli

MODELS = {
    "breast-cancer.boostgrad": (BoostGradClassifier, 30),
    "hastie.boostgrad": (BoostGradClassifier, 10),
    "diabetes.boostgrad": (BoostGradRegressor, 10),
    "friedman.boostgrad": (BoostGradRegressor, 20),
}
PEERS = ("lightgbm", "xgboost", "catboost")


def hide(monkeypatch, *modules):
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def lines_of(text, library):
    return [line.split() for line in text.splitlines() if line.startswith(f"  {library} ")]


def test_demo_trains_compares_and_saves(tmp_path, monkeypatch, capfd):
    pytest.importorskip("matplotlib")
    hide(monkeypatch, *PEERS)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--quick", "--threads", "1"]) == 0
    out, err = capfd.readouterr()
    folder = tmp_path / "boostgrad-demo"
    assert os.listdir(tmp_path) == ["boostgrad-demo"]
    assert sorted(os.listdir(folder)) == sorted([*MODELS, "learning-curves.png"])
    assert (folder / "learning-curves.png").read_bytes().startswith(b"\x89PNG")
    for name, (estimator, n_features) in MODELS.items():
        model = estimator.load(folder / name)
        assert len(model.predict(np.zeros((2, n_features)))) == 2
        assert str(folder / name) in out
    ours, theirs = lines_of(out, "boostgrad"), lines_of(out, "HistGradientBoosting")
    assert len(ours) == len(theirs) == 4
    for (_, score, _, fit, predict), (_, peer_score, *_) in zip(ours, theirs, strict=True):
        assert float(score) == pytest.approx(float(peer_score), rel=0.25)
        assert float(fit) > 0 and float(predict) > 0
    for peer in ("LightGBM", "XGBoost", "CatBoost"):
        assert not lines_of(out, peer)
    assert "Not installed, so not in the tables: CatBoost, LightGBM, XGBoost." in out
    assert "boostgrad" in err  # the progress bars


def test_scores_and_models_follow_from_the_seed(tmp_path, monkeypatch, capsys):
    hide(monkeypatch, *PEERS, "matplotlib", "matplotlib.figure")
    monkeypatch.setattr(cli, "REPEATS", 1)
    predictions = []
    for run, threads in enumerate("12"):
        out = tmp_path / str(run)
        assert cli.main(["demo", "--quick", "--out", str(out), "--seed", "3", "--threads", threads]) == 0
        predictions.append([raw_bytes(out / name, *MODELS[name]) for name in MODELS])
    assert predictions[0] == predictions[1]


def raw_bytes(path, estimator, n_features):
    X = np.random.default_rng(0).normal(size=(50, n_features))
    return estimator.load(path)._raw(X).tobytes()


def test_demo_without_matplotlib_says_what_to_install(tmp_path, monkeypatch, capsys):
    hide(monkeypatch, *PEERS, "matplotlib", "matplotlib.figure")
    monkeypatch.setattr(cli, "REPEATS", 1)
    assert cli.main(["demo", "--quick", "--out", str(tmp_path)]) == 0
    assert "install boostgrad[plot]" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == sorted(MODELS)


def test_picture_leaves_the_environment_alone(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    model = BoostGradRegressor(n_estimators=2, early_stopping=True).fit(np.arange(100.0)[:, None], np.arange(100.0))
    problem = cli.problems(0, quick=True)[2]
    assert cli.draw(str(tmp_path / "a.png"), [(problem, model)] * 4)
    assert os.listdir(tmp_path) == ["a.png"]
    assert "MPLCONFIGDIR" not in os.environ


@pytest.mark.parametrize("library", list(cli.LIBRARIES))
@pytest.mark.parametrize("classify", [True, False])
def test_libraries_agree(library, classify, seed):
    problem = cli.problems(seed, quick=True)[1 if classify else 3]
    row = cli.measure(library, problem, 30, 1, seed)
    if row is None:
        pytest.skip(f"{library} is not installed")
    assert row.problem == ""
    ours = cli.measure("boostgrad", problem, 30, 1, seed)
    np.testing.assert_allclose(row.scores[0], ours.scores[0], rtol=0.2)
    assert row.fit_seconds > 0 and row.predict_seconds > 0


def test_a_peer_that_breaks_gets_a_line(monkeypatch):
    def broken(*_):
        raise OSError("no shared library\nmore of it")

    monkeypatch.setitem(cli.LIBRARIES, "LightGBM", broken)
    problem = cli.problems(0, quick=True)[2]
    row = cli.measure("LightGBM", problem, 2, 1, 0)
    assert "failed: OSError: no shared library" in cli.table(problem, [row])
    monkeypatch.setitem(cli.LIBRARIES, "boostgrad", broken)
    with pytest.raises(OSError, match="no shared library"):
        cli.measure("boostgrad", problem, 2, 1, 0)


def test_out_that_cannot_be_a_folder(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert cli.main(["demo", "--out", str(file)]) == 1
    assert capsys.readouterr().err.startswith("boostgrad: error: cannot make the folder")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_out_that_is_read_only(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 1
    assert "cannot write to the folder" in capsys.readouterr().err


def test_a_model_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BoostGradClassifier, "save", full)
    assert cli.main(["demo", "--quick", "--out", str(tmp_path)]) == 1
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--threads", "0"], "--threads: must be a whole number from 1 to 4096, not '0'"),
        (["demo", "--threads", "two"], "not 'two'"),
        (["demo", "--seed", "-1"], "--seed: must be a whole number from 0 to 4294967295, not '-1'"),
        (["demo", "--fast"], "unrecognized arguments: --fast"),
        (["train"], "invalid choice: 'train'"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_arguments(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"boostgrad {boostgrad.__version__}\n"


def test_ctrl_c(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", interrupted)
    assert cli.main(["demo", "--quick", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "\nboostgrad: stopped\n"
    assert os.listdir(tmp_path) == []


def test_a_reader_that_leaves(tmp_path):
    code = "import sys; from boostgrad.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, "demo", "--quick", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(boostgrad.__file__))},
    )
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert "Traceback" not in errors and "Exception" not in errors
