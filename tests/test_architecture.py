"""The rules of docs/architecture.md, read off the source itself; every test lists what breaks its rule."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAB = sorted((ROOT / "lab").rglob("*.py"))
PAGES = sorted((ROOT / "pages").glob("*.py"))
SOURCES = [ROOT / "app.py", *PAGES, *LAB]

FLOORS = (
    (
        "lab.types",
        "lab.params",
        "lab.progress",
        "lab.statistics",
        "lab.devices",
        "lab.assets",
        "lab.index",
        "lab.records",
        "lab.packed",
    ),
    ("lab.answers", "lab.images", "lab.gate", "lab.predict", "lab.folding"),
    ("lab.attacks",),
    ("lab.models", "lab.data"),
    ("lab.defenses",),
    ("lab.training",),
    ("lab.store",),
    ("lab.experiments",),
    ("lab",),
    ("lab.figures",),
    ("lab.ui", "lab.ui.shell"),
    ("lab.ui.parts",),
    ("lab.ui.pages",),
    ("lab.ui.draw",),
    ("lab.cli",),
    ("lab.__main__", "pages", "app"),
)
"""The house from the ground up. A module may import from its own floor and from those below."""
ALONE = ("lab", "lab.ui")
"""Packages of which FLOORS means the file itself: what lies inside has a floor of its own."""


def module_of(file):
    """The dotted name of a source file."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(file):
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def imports_of(file):
    """Every module that a file imports anywhere in it, dotted, `from x import y` as x.y, with the line."""
    package = module_of(file).split(".") if file.name == "__init__.py" else module_of(file).split(".")[:-1]
    imports = {}
    for node in ast.walk(tree_of(file)):
        names = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        for name in names:
            imports.setdefault(name, node.lineno)
    return imports


MODULES = {module_of(file): file for file in SOURCES}


def within(name, *packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def module_named(name):
    """The module of the house that an import names: x.y.z may be a name z in the module x.y."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def edges(file):
    """The modules of the house that a file imports, with the line."""
    own = module_of(file)
    targets = {module_named(name): line for name, line in imports_of(file).items()}
    return {name: line for name, line in targets.items() if name and name != own}


def floor_of(module):
    """How high a module lies; the longest name in FLOORS that it is within decides."""
    heights = {
        part: height
        for height, floor in enumerate(FLOORS)
        for part in floor
        if module == part or (part not in ALONE and within(module, part))
    }
    assert heights, f"{module} lies on no floor: give it one"
    return heights[max(heights, key=len)]


def offenders(rule, files=SOURCES):
    """Where a rule is broken, as "path:line what": rule gives (line, what) for a file."""
    return [f"{file.relative_to(ROOT)}:{line} {what}" for file in files for line, what in rule(file)]


def importing(*packages):
    """A rule against importing anything from these packages."""
    return lambda file: [(line, name) for name, line in imports_of(file).items() if within(name, *packages)]


def outside(*packages):
    return [file for file in SOURCES if not within(module_of(file), *packages)]


def calls_in(file):
    return [(node, ast.unparse(node.func)) for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)]


def test_there_is_something_to_check():
    assert len(LAB) > 30
    assert PAGES
    assert "lab.attacks.run" in MODULES
    assert "torch.nn" in imports_of(ROOT / "lab" / "devices.py")
    assert "lab.attacks" in edges(ROOT / "lab" / "__init__.py")


def test_no_import_runs_upward_between_floors():
    """Nor one inside a function, nor one for types only."""

    def upward(file):
        own = floor_of(module_of(file))
        return [(line, f"imports {name}") for name, line in edges(file).items() if floor_of(name) > own]

    assert offenders(upward) == []


def test_no_imports_run_in_a_circle():
    graph, state, circles = {name: edges(file) for name, file in MODULES.items()}, {}, []

    def visit(name, path):
        state[name] = "open"
        for other in graph[name]:
            if state.get(other) == "open":
                circles.append(" -> ".join([*path[path.index(other) :], other]))
            elif other not in state:
                visit(other, [*path, other])
        state[name] = "done"

    for name in graph:
        if name not in state:
            visit(name, [name])
    assert circles == []


def test_nothing_imports_the_tests_or_another_page():
    assert offenders(importing("tests", "benchmarks", "pages", "app")) == []


def test_pages_do_not_know_each_other():
    def neighbours(file):
        home = ".".join(module_of(file).split(".")[:4])
        return [(line, name) for name, line in edges(file).items() if name.count(".") > 3 and not within(name, home)]

    bodies = [file for file in LAB if within(module_of(file), "lab.ui.pages") and file.parent.name != "pages"]
    between_pages = [name for name in offenders(neighbours, bodies) if " lab.ui.pages." in name]
    assert bodies
    assert between_pages == []


def test_streamlit_stays_in_the_pages_and_lab_ui():
    assert offenders(importing("streamlit"), outside("app", "pages", "lab.ui")) == []


def test_pages_do_not_compute():
    assert offenders(importing("torch", "torchvision", "numpy"), PAGES) == []


def test_only_one_door_leads_to_torchvision():
    assert offenders(importing("torchvision"), outside("lab.models.torchvision")) == []


def test_nothing_unpickles_prints_or_evaluates():
    banned = ("print", "eval", "exec", "pickle.load", "pickle.loads", "joblib.load", "dill.load")
    safe = {
        "torch.load": ("weights_only", "True"),
        "torch.hub.load_state_dict_from_url": ("weights_only", "True"),
        "np.load": ("allow_pickle", "False"),
        "numpy.load": ("allow_pickle", "False"),
    }

    def careless(file):
        for call, name in calls_in(file):
            given = {k.arg: ast.unparse(k.value) for k in call.keywords}
            if name in banned or (name in safe and given.get(safe[name][0]) != safe[name][1]):
                yield call.lineno, name
        for name, line in imports_of(file).items():
            if within(name, "pickle") and name != "pickle.UnpicklingError":
                yield line, name

    assert offenders(careless) == []


def test_shared_models_and_devices_are_left_alone():
    """No `.cuda()`, no backward pass into parameters but in training, and a global seed only in a forked generator."""

    def disturbs(file):
        forked = {
            id(inner)
            for node in ast.walk(tree_of(file))
            if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0].context_expr)
            for inner in ast.walk(node)
        }
        for call, name in calls_in(file):
            if (
                name.endswith(".cuda")
                or (name.endswith(".backward") and not within(module_of(file), "lab.training"))
                or (name == "torch.manual_seed" and id(call) not in forked)
                or name in ("np.random.seed", "random.seed")
            ):
                yield call.lineno, name

    assert offenders(disturbs) == []


def test_no_star_imports_and_no_swallowed_errors():
    def careless(file):
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                yield node.lineno, "import *"
            if isinstance(node, ast.ExceptHandler):
                caught = {ast.unparse(t) for t in ast.walk(node.type)} if node.type else {"everything"}
                raises = any(isinstance(n, ast.Raise) for n in ast.walk(node))
                if node.type is None or (caught & {"Exception", "BaseException"} and not raises):
                    yield node.lineno, f"except {', '.join(sorted(caught))}"

    assert offenders(careless) == []
