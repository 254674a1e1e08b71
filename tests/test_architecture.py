"""The rules of docs/architecture.md, read off the source itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAB = sorted((ROOT / "lab").rglob("*.py"))
PAGES = sorted((ROOT / "pages").glob("*.py"))
SOURCES = [ROOT / "app.py", *PAGES, *LAB]

files = pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(ROOT)))


def module_of(file):
    """The dotted name of a source file."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file):
    """Every module that a file imports anywhere in it, dotted, `from x import y` as x.y."""
    package = module_of(file).split(".") if file.name == "__init__.py" else module_of(file).split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def within(name, package):
    return name == package or name.startswith(package + ".")


def layer(module):
    """Pages above lab.ui above lab.figures above the rest."""
    for height, package in ((1, "lab.figures"), (2, "lab.ui")):
        if within(module, package):
            return height
    return 0 if within(module, "lab") else 3


def test_there_is_something_to_check():
    assert len(LAB) > 30
    assert PAGES
    assert "lab.attacks.run" in {module_of(f) for f in LAB}
    assert "torch.nn" in imports_of(ROOT / "lab" / "devices.py")


@files
def test_streamlit_stays_in_the_pages_and_lab_ui(file):
    if layer(module_of(file)) < 2:
        assert not any(within(name, "streamlit") for name in imports_of(file))


@files
def test_pages_do_not_compute(file):
    if file in PAGES:
        assert not any(within(name, part) for name in imports_of(file) for part in ("torch", "torchvision", "numpy"))


@files
def test_imports_point_one_way(file):
    own = module_of(file)
    above = {name for name in imports_of(file) if within(name, "lab") and layer(name) > layer(own)}
    assert above == set()
    assert not any(within(name, part) for name in imports_of(file) for part in ("pages", "app", "tests"))


@files
def test_attacks_know_no_models_and_no_data(file):
    if within(module_of(file), "lab.attacks"):
        for part in ("lab.models", "lab.data", "lab.experiments", "lab.training", "torchvision"):
            assert not any(within(name, part) for name in imports_of(file))


@files
def test_only_one_door_leads_to_torchvision(file):
    if module_of(file) != "lab.models.torchvision":
        assert not any(within(name, "torchvision") for name in imports_of(file))


def calls_in(file):
    return [n for n in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]


@files
def test_nothing_unpickles_prints_or_evaluates(file):
    banned = ("print", "eval", "exec", "pickle.load", "pickle.loads", "joblib.load", "dill.load")
    for call in calls_in(file):
        name, told = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert name not in banned, f"line {call.lineno}"
        if name in ("torch.load", "torch.hub.load_state_dict_from_url"):
            assert told.get("weights_only") == "True", f"line {call.lineno}"
        if name in ("np.load", "numpy.load"):
            assert told.get("allow_pickle") == "False", f"line {call.lineno}"
    names = {name for name in imports_of(file) if within(name, "pickle")}
    assert names <= {"pickle.UnpicklingError"}


@files
def test_shared_models_and_devices_are_left_alone(file):
    """No `.cuda()`, and but for new nets and their training no backward pass into parameters and no global seed."""
    for call in calls_in(file):
        name = ast.unparse(call.func)
        assert not name.endswith(".cuda"), f"line {call.lineno}"
        if not within(module_of(file), "lab.training"):
            assert not name.endswith(".backward"), f"line {call.lineno}"
        if not any(within(module_of(file), part) for part in ("lab.training", "lab.models.nets")):
            assert name not in ("torch.manual_seed", "np.random.seed", "random.seed"), f"line {call.lineno}"


@files
def test_no_star_imports_and_no_swallowed_errors(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names)
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}"
            if not any(isinstance(n, ast.Raise) for n in ast.walk(node)):
                caught = {ast.unparse(t) for t in ast.walk(node.type)}
                assert not caught & {"Exception", "BaseException"}, f"line {node.lineno}"
