"""The package as one installs it: light to import, complete in its wheel, its requirements true to each other."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import streamlit
from packaging.requirements import Requirement
from streamlit.testing.v1 import AppTest

import lab
from lab import index
from scripts import build_index

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def python(*argv, cwd=ROOT, path=ROOT):
    """What a fresh process says."""
    run = [sys.executable, "-W", "error", *map(str, argv)]
    env = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(run, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize(
    "code",
    [
        "import lab",
        "import lab; lab.catalog(); dir(lab); lab.__version__",
        "from lab.cli import main; main(['catalog'])",
        "from lab.cli import main; main(['catalog', '--json'])",
        "from lab.cli import main; main(['attack', '--attack', 'magic'])",
        "import contextlib\nfrom lab.cli import main\nwith contextlib.suppress(SystemExit): main(['--help'])",
        "import contextlib\nfrom lab.cli import main\nwith contextlib.suppress(SystemExit): main(['clever', '--help'])",
    ],
)
def test_what_needs_no_torch_does_not_load_it(code):
    heavy = "torch", "numpy", "streamlit"
    said = python("-c", f"{code}\nimport sys; print(sorted(set({heavy}) & set(sys.modules)))")
    assert said.splitlines()[-1] == "[]"


def test_waiting_threads_are_told_to_sleep_before_torch_loads():
    code = "import os; os.environ.pop('GOMP_SPINCOUNT', None); import lab; print(os.environ['GOMP_SPINCOUNT'])"
    assert python("-c", code) == "4000\n"


def test_every_public_name_is_there():
    for name in lab.__all__:
        assert name in dir(lab)
        assert getattr(lab, name).__module__.startswith("lab")
    assert set(lab._HOMES) == set(lab.__all__) - {"catalog"}
    assert lab.models.load_model is lab.load_model
    with pytest.raises(AttributeError, match="module 'lab' has no attribute 'nothing'"):
        lab.nothing  # noqa: B018


def test_the_index_is_that_of_the_catalogues():
    assert index.FILE.read_text(encoding="utf-8") == build_index.build(), "run python -m scripts.build_index"


def test_each_pin_lies_in_its_range():
    extras = PROJECT["project"]["optional-dependencies"]
    assert_within(pins("requirements.txt"), PROJECT["project"]["dependencies"])
    assert_within(pins("requirements-dev.txt"), extras["dev"])


def pins(file):
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if re.match(r"\w", line))


def assert_within(pinned, ranges):
    wanted = {r.name: r.specifier for r in map(Requirement, ranges)}
    assert list(wanted) == list(pinned)
    assert [name for name, version in pinned.items() if version not in wanted[name]] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (file,) = folder.glob("*.whl")
    return file


def files(*folders):
    """Every file of the repository at or below these places."""
    found = (file for name in folders for file in [ROOT / name, *(ROOT / name).rglob("*")] if file.is_file())
    return {str(file.relative_to(ROOT)) for file in found if "__pycache__" not in file.parts}


def test_the_wheel_is_complete(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = set(z.namelist())
        (points,) = (z.read(name).decode() for name in names if name.endswith("entry_points.txt"))
        (about,) = (z.read(name).decode() for name in names if name.endswith("METADATA"))
    assert wheel.name.startswith(f"adversarial_robustness_lab-{lab.__version__}-py3")
    assert "lab = lab.cli:main" in points
    assert "Requires-Dist: torch>=2.11" in about
    assert files("lab") <= names
    assert {f"lab/_app/{name}" for name in files("app.py", "pages", "assets", ".streamlit")} <= names
    assert "lab/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"lab", f"adversarial_robustness_lab-{lab.__version__}.dist-info"}


def test_the_wheel_works_from_any_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as z:
        z.extractall(tmp_path / "site")
    code = (
        "import lab, lab.assets; from pathlib import Path\n"
        "assert Path(lab.__file__).parent == lab.assets.APP.parent\n"
        "assert (lab.assets.APP / 'app.py').is_file()\n"
        "data, model = lab.load_data('mnist').rows(slice(0, 2)), lab.load_model('mnist/softmax')\n"
        "print(lab.attack('fgsm', model, data.x, data.y, eps=0.2).success.tolist())"
    )
    (tmp_path / "elsewhere").mkdir()
    assert python("-c", code, cwd=tmp_path / "elsewhere", path=tmp_path / "site") == "[True, True]\n"
    catalog = python("-m", "lab", "catalog", "--json", cwd=tmp_path / "elsewhere", path=tmp_path / "site")
    assert json.loads(catalog)["models"] == lab.catalog()["models"]


def test_the_app_starts_from_any_folder(monkeypatch, tmp_path):
    from lab import cli
    from lab.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    started = []
    monkeypatch.setattr(app.runpy, "run_module", lambda name, **how: started.append((name, sys.argv)))
    assert cli.main(["app", "--port", "8600", "--", "--server.headless", "true"]) == 0
    file = str(ROOT / "app.py")
    assert started == [("streamlit", ["streamlit", "run", file, "--server.port=8600", "--server.headless", "true"])]


def test_the_app_finds_its_files_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    configured = []
    monkeypatch.setattr(streamlit, "set_page_config", lambda **how: configured.append(how))
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not page.exception
    assert page.title[0].value == "Adversarial robustness lab"
    assert Path(configured[0]["page_icon"]).is_file()
