"""The parts of the Black box page: a model copied by its labels alone, and attacked through the copy."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from lab import attacks
from lab.attacks import attack
from lab.data import load_data
from lab.data.catalog import TASKS
from lab.experiments.blackbox.curves import QUERY_ATTACKS, Copied, QueryCurve, prepare, query_curve, scored
from lab.experiments.blackbox.oracle import ALLOWED, Remote, allowed, check_address, labels_of
from lab.experiments.blackbox.substitute import PARAMS, Substitute, balanced, copy_oracle
from lab.figures import blackbox as figures
from lab.figures.pictures import enlarge
from lab.images import Images, bytes_of, decode
from lab.models.cards import Card
from lab.models.catalog import find_model, name_elsewhere
from lab.params import Value
from lab.types import ImageError
from lab.ui.parts.forms import PIXEL_STEPS, form, pixel_label
from lab.ui.parts.result import run_button
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import strip
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_here
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.say import attempt
from lab.ui.shell.words import attack_label, model_label

PREFIX = "o_"
"""Of the widgets' keys, and so of the parameters in links."""
LOCAL, REMOTE = "A model of the lab", "An endpoint"
SMALL = ("mnist", "fashion_mnist")
"""Tasks whose images are small enough to train a copy in seconds."""
DEFAULT = "mnist/cnn_small"
JSMA_IMAGES = 20
THUMB = 56
"""Width of a small picture: two pixels for one."""
SUBSTITUTE = "substitute"
LONG: Mapping[str, Value] = {"optimiser": "adam", "lr": 0.001, "epochs": 30}
PRESETS: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "The paper's": (DEFAULT, {"optimiser": "sgd", "lr": 0.01, "epochs": 10}),
    "Strong net": ("mnist/cnn", LONG),
    "Defended net": ("mnist/cnn_pgd_at", LONG),
}
"""Oracle and settings of the substitute: of the paper's success, and of two failures that teach."""
STUCK = 0.05
"""Growth of the agreement below which more queries did not make the copy better."""


@dataclass(frozen=True)
class Setup:
    """What one run of the substitute attack depends on.

    Attributes:
        oracle: key of a model, or the address of an endpoint.
        remote: whether it is an endpoint.
        task: the label space.
        initial: the attacker's first images [N,C,H,W]; `chosen` says which.
        chosen: how many of the test images they are, or a digest of the person's own.
        tests: how many test images the copy is judged on.
        budget: labels that may be asked.
        eps: size of the FGSM examples.
        params: of the substitute.
        seed: of the random numbers.
    """

    oracle: str
    remote: bool
    task: str
    initial: Tensor
    chosen: str
    tests: int
    budget: int
    eps: float
    params: Mapping[str, Value]
    seed: int

    @property
    def key(self) -> Hashable:
        """What the result depends on."""
        settings = tuple(self.params.items())
        return (self.oracle, self.task, self.chosen, self.tests, self.budget, self.eps, settings, self.seed)

    @property
    def settings(self) -> Substitute:
        """Of the substitute."""
        return Substitute(**dict(self.params))  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The oracle's name, for a person."""
        return "the endpoint" if self.remote else find_model(self.oracle).card().name


@dataclass(frozen=True)
class Shown:
    """A run, as far as it came."""

    setup: Setup
    copied: tuple[Copied, ...]


def choose() -> Setup | None:
    """Draws the settings in the sidebar; None where they cannot be used, after saying why."""
    with st.sidebar:
        return attempt(_choose)


def _choose() -> Setup:
    preset = st.segmented_control("Settings to begin with", list(PRESETS), key="_preset", width="stretch")
    if preset is not None and st.session_state.get("_preset_taken") != preset:
        _take(str(preset))
    st.session_state["_preset_taken"] = preset
    source = st.segmented_control(
        "Oracle",
        [LOCAL, REMOTE],
        default=LOCAL,
        required=True,
        key=f"{PREFIX}source",
        bind="query-params",
        width="stretch",
        help="The black box. Of it only labels are seen.",
    )
    oracle, task = _local() if source == LOCAL else _remote()
    data = load_data(task)
    trained = _own(task)
    if trained is None:
        count = int(
            st.select_slider(
                "Initial images",
                [20, 50, 100, 150, 200, 300, 500],
                150,
                key=f"{PREFIX}initial",
                bind="query-params",
                help="Test images that the attacker has, as many of each class as can be.",
            )
        )
        initial, chosen = balanced(data, count)[0].x, str(count)
    else:
        initial, chosen = trained
    budget = int(
        st.number_input(
            "Budget, labels",
            10,
            100_000,
            9600,
            step=100,
            key=f"{PREFIX}budget",
            bind="query-params",
            help="How many labels may be asked; the copy's growth ends there.",
        )
    )
    tests = int(
        st.select_slider(
            "Test images",
            [100, 200, 300, 500, 1000],
            300,
            key=f"{PREFIX}tests",
            bind="query-params",
            help="Other images, on which the copy is judged after each round.",
        )
    )
    shown = st.select_slider(
        "Epsilon of FGSM",
        [n for n in PIXEL_STEPS if n],
        76.5,
        key=f"{PREFIX}eps",
        bind="query-params",
        format_func=pixel_label,
        help="How far each value may move in the examples made on the copy.",
    )
    st.markdown("**The copy**")
    params = form(PARAMS, {}, Ask(PREFIX.rstrip("_")))
    seed = int(st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params"))
    return Setup(oracle, source == REMOTE, task, initial, chosen, tests, budget, float(shown or 0) / 255, params, seed)


def _take(preset: str) -> None:
    oracle, values = PRESETS[preset]
    st.session_state[f"{PREFIX}source"], st.session_state[f"{PREFIX}oracle"] = LOCAL, oracle
    for name, value in values.items():
        st.session_state[PREFIX + name] = value


def _local() -> tuple[str, str]:
    offered = [key for task in SMALL for key in trained.keys(task)]
    key = st.selectbox(
        "Model",
        offered,
        index=offered.index(DEFAULT),
        key=f"{PREFIX}oracle",
        bind="query-params",
        format_func=lambda k: model_label(find_model(k).card()),
        help="Any digit or clothes model, the defended ones too. Photographs are too large to train a copy in seconds.",
    )
    return key, key.split("/")[0]


def _remote() -> tuple[str, str]:
    url = st.text_input(
        "Address",
        "http://127.0.0.1:8600/label",
        key=f"{PREFIX}url",
        help="It gets each image as a PNG by POST and answers with a label.",
    )
    task = st.segmented_control(
        "Its classes", SMALL, default=SMALL[0], required=True, key=f"{PREFIX}task", format_func=lambda t: TASKS[t]
    )
    st.caption(
        f"`python -m lab serve {DEFAULT}` starts such an endpoint. This lab may ask {', '.join(allowed()) or 'none'}; "
        f"its operator lists the addresses in `{ALLOWED}`. The looks at the test images cost queries there, too."
    )
    check_address(url)
    return url, str(task)


def _own(task: str) -> tuple[Tensor, str] | None:
    """The person's own initial images, fitted to the data set, and a digest of them."""
    files = st.file_uploader(
        "Or your own initial images",
        ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"],
        accept_multiple_files=True,
        key=f"{PREFIX}own",
    )
    if not files:
        return None
    fit = _card(task).fit
    pictures = []
    for number, file in enumerate(files, 1):
        try:
            pictures.append(fit(decode(file.getvalue())))
        except ImageError as e:
            raise ImageError(f"picture {number} cannot be used: {e}") from e
    x = torch.cat(pictures)
    return x, f"{len(x)} own, {int((x * 255).sum())}"


def _card(task: str) -> Card:
    return find_model(f"{task}/cnn").card()


def settle(setup: Setup | None) -> Setup | None:
    """Draws the run button; returns the run that is to be shown."""
    return run_button(setup, "blackbox", "Copy the black box", lambda s: forget("blackbox", s.key))


def copied(setup: Setup) -> Shown | None:
    """The rounds of a run: all of them, or as many as there were when it was stopped; None while it is at work."""

    def work(job: Job) -> tuple[Copied, ...]:
        data, total = _test(setup), setup.settings.rounds + 1
        job.tell(0.0, "asking for the labels of the test images")
        ask = (
            Remote(setup.oracle, len(_card(setup.task).classes))
            if setup.remote
            else labels_of(cache.model(setup.oracle))
        )
        judge, oracle = prepare(
            ask, data, setup.budget, setup.settings.rounds, counted=setup.remote, eps=setup.eps, seed=setup.seed
        )
        classes = len(_card(setup.task).classes)
        rounds = copy_oracle(oracle, setup.initial, classes, setup.settings, seed=setup.seed, cancel=job.cancelled)
        found: tuple[Copied, ...] = ()
        for each in scored(rounds, judge, 0 if setup.remote else JSMA_IMAGES):
            job.partial = found = (*found, each)
            job.tell(2.0 ** (len(found) - total), f"round {len(found)} of {total}")
        job.tell(1.0)
        return found

    def live(found: tuple[Copied, ...]) -> None:
        with st.container(key="so_far"):
            show(Shown(setup, found), whole=False)

    found = outcome("blackbox", setup.key, f"Copying {setup.name}", work, live)
    return Shown(setup, found) if found else None


def _test(setup: Setup) -> Images:
    """Test images that the attacker does not have."""
    data = load_data(setup.task)
    rest = balanced(data, int(setup.chosen))[1] if setup.chosen.isdecimal() else data
    return rest.rows(slice(0, setup.tests))


def show(shown: Shown, *, whole: bool = True) -> None:
    """The verdict, the course of the rounds, and the images that were asked."""
    setup, last = shown.setup, shown.copied[-1]
    score, asked = last.score, last.round.queries
    told = (
        f"After **{asked:,} labels** the copy agrees with {setup.name} on **{score.agreement:.0%}** of the test "
        f"images; FGSM on the copy fools {setup.name} on **{score.fgsm:.0%}** of them, random noise of the "
        f"same size on {score.noise:.0%}."
    )
    st.markdown(f"### {told}")
    grown = score.agreement - shown.copied[0].score.agreement
    if whole and (grown < STUCK or score.fgsm - score.noise < 0.2):
        st.info(
            f"From {shown.copied[0].round.queries:,} labels to {asked:,} the copy's agreement changed by "
            f"{100 * grown:+.0f} points, and its examples fool {100 * (score.fgsm - score.noise):.0f} points more than "
            "noise. A copy of another kind than the oracle, trained long on few images, learns those images and not "
            "the oracle's boundaries; a strong net's boundaries lie further away, and those of an adversarially "
            "trained net further still.",
            icon=":material/school:",
        )
    show_chart(
        figures.rounds(shown.copied, setup.budget),
        "rounds",
        "Each point is a round: the copy is trained on all labels so far, then every image is moved to where the "
        f"copy's answer changes most, and labelled. Shares are of the {score.n} test images that the oracle classes "
        "right, which the attacker has not seen; agreement is of all. JSMA stops as soon as the copy is fooled, so few "
        "of its examples carry over.",
    )
    if whole:
        with st.expander("Every round in numbers"):
            st.dataframe(table(shown.copied), hide_index=True, width="stretch", key="rounds_table")
    synthetic(shown)


def table(found: Sequence[Copied]) -> list[dict[str, str]]:
    """The rounds, a row each, for a person."""
    return [
        {
            "round": str(c.round.number),
            "labels asked": f"{c.round.queries:,}",
            "agrees on them": f"{c.round.fit:.1%}",
            "agrees on test images": f"{c.score.agreement:.1%}",
            "FGSM": f"{c.score.fgsm:.1%}",
            "JSMA": "" if c.score.jsma is None else f"{c.score.jsma:.1%}",
            "noise": f"{c.score.noise:.1%}",
        }
        for c in found
    ]


def _pictures(shown: Shown, rows: Iterable[int]) -> Iterator[tuple[Tensor, str]]:
    last, classes = shown.copied[-1].round, _card(shown.setup.task).classes
    return ((bytes_of(enlarge(last.x[i], THUMB)), classes[int(last.labels[i])]) for i in rows)


def synthetic(shown: Shown) -> None:
    """One initial image of each class and what became of it, round by round."""
    last = shown.copied[-1].round
    st.markdown("**What the oracle was shown**")
    first = shown.copied[0].round.fresh
    st.caption("The first images, with the oracle's labels:")
    strip(_pictures(shown, range(min(10, first))), THUMB)
    if last.fresh and last.number:
        newest = range(len(last.x) - last.fresh, len(last.x))[:10]
        st.caption(
            f"The newest, made in round {last.number}, with the oracle's labels: they need not look like anything."
        )
        strip(_pictures(shown, newest), THUMB)


def queries(shown: Shown) -> None:
    """Attacks that ask the box itself for every image, beside the copy, which was paid once."""
    setup = shown.setup
    if setup.remote:
        st.info("The query attacks are run on the lab's own models only: they would spend the endpoint's budget.")
        return
    left, right = st.columns([3, 1])
    chosen = left.multiselect(
        "Attacks that ask the oracle itself",
        list(QUERY_ATTACKS),
        list(QUERY_ATTACKS),
        key=f"{PREFIX}queries",
        format_func=lambda k: attack_label(attacks.CATALOG[k]),
    )
    count = int(right.number_input("Images", 2, 100, 20, key=f"{PREFIX}images"))
    if not chosen:
        return
    copied_key = (setup.key, len(shown.copied))

    def work(job: Job) -> tuple[QueryCurve, ...]:
        model, data = cache.model(setup.oracle), _test(setup)
        right_rows = (labels_of(model)(data.x) == data.y).nonzero().flatten()[:count]
        x, y = data.x[right_rows], data.y[right_rows]
        ask, spent, success = labels_of(model), [], []
        for each in shown.copied:
            made = attack("fgsm", each.round.net, x, y, eps=setup.eps).x
            spent.append(each.round.queries)
            success.append(float((ask(made) != y).double().mean()))
        found: tuple[QueryCurve, ...] = (QueryCurve(SUBSTITUTE, tuple(spent), tuple(success), len(x)),)
        for k, key in enumerate(chosen):
            job.tell(k / len(chosen), attacks.CATALOG[key].name)
            one = query_curve(key, model, x, y, setup.eps, seed=setup.seed, cancel=job.cancelled)
            together = tuple(q * len(x) for q in one.queries)
            job.partial = found = (*found, QueryCurve(key, together, one.success, one.n))
        job.tell(1.0)
        return found

    found = outcome("queries", (copied_key, tuple(chosen), count), "Asking the oracle", work, _draw_courses)
    if found:
        _draw_courses(found)


def _draw_courses(found: tuple[QueryCurve, ...]) -> None:
    names = {SUBSTITUTE: "substitute, FGSM"} | {k: attacks.CATALOG[k].name for k in QUERY_ATTACKS}
    mine, others = found[0], found[1:]
    show_chart(
        figures.courses(others, mine, names),
        "courses",
        f"The same {mine.n} images for all, no value moved by more than epsilon. The copy costs its labels once and "
        "then makes any number of examples without asking; the others pay for every image anew, but go on until it is "
        "fooled. Square and SPSA see the oracle's scores, more than the copy ever saw; HopSkipJump sees labels only.",
    )


def take_away(shown: Shown) -> None:
    """Files with what was measured, the command that measures it again, and the link."""
    setup = shown.setup
    rows = [
        {"round": c.round.number, "queries": c.round.queries, "fit": c.round.fit, **asdict(c.score)}
        for c in shown.copied
    ]
    told = {"oracle": setup.oracle, "initial": setup.chosen, "budget": setup.budget, "eps": setup.eps}
    told |= {"seed": setup.seed, "settings": dict(setup.params), "rounds": rows}
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    everything = json.dumps(told, indent=2)
    offers = (
        Offer("Rounds (.csv)", "csv", "text/csv", file.getvalue()),
        Offer("Everything (.json)", "json", "application/json", everything),
    )
    offer_files("blackbox", "blackbox", offers)
    st.markdown("**The command that measures it again**")
    given = " ".join(f"--param {name}={value}" for name, value in setup.params.items())
    initial = f"--initial {setup.chosen} " if setup.chosen.isdecimal() else ""
    st.code(
        f"python -m lab blackbox --oracle {name_elsewhere(setup.oracle)} --dataset {setup.task} {initial}"
        f"--limit {setup.tests} --budget {setup.budget} --eps {setup.eps:.4g} --seed {setup.seed} {given}",
        language="bash",
        wrap_lines=True,
    )
    link_here("The link to this page")


def how_it_works() -> None:
    """The algorithm, its letters, and the papers."""
    st.latex(
        r"S_{\rho+1} = S_\rho \cup \{\,x + \lambda_\rho\,\operatorname{sign} J_F(x)[\tilde O(x)] : x \in S_\rho\,\}"
    )
    st.markdown(
        r"$S_\rho$: the images asked by round $\rho$  "
        "\n"
        r"$\tilde O(x)$: the oracle's label of $x$  "
        "\n"
        r"$J_F$: the Jacobian of the copy $F$, its row at that label  "
        "\n"
        r"$\lambda_\rho$: the step; its sign turns every $\tau$ rounds (the periodical step size)"
    )
    st.markdown(
        "The oracle answers labels only: its scores and gradients never leave it. What the attacker learns is where "
        "its boundaries lie, and adversarial examples of the copy lie across them. "
        "[Papernot et al. 2016](https://arxiv.org/abs/1602.02697); periodical step and reservoir sampling: "
        "[Papernot, McDaniel, Goodfellow 2016](https://arxiv.org/abs/1605.07277). The paper reports that 84% of the "
        "examples were misclassified by a remote digit classifier after 6,400 queries. "
        "Code: `lab/experiments/blackbox/substitute.py`."
    )


TABS = {"Against query attacks": queries, "Take away": take_away}


def details(shown: Shown) -> None:
    """The tabs; each is computed when it is opened."""
    names = [*TABS, "How it works"]
    for tab, name in zip(st.tabs(names, key="blackbox_tabs", on_change="rerun"), names, strict=True):
        if tab.open:
            with tab:
                TABS[name](shown) if name in TABS else how_it_works()


def _body() -> None:
    setup = settle(choose())
    if setup is None:
        st.info("Choose settings that work in the sidebar; the reason is written there.")
        return
    shown = copied(setup)
    if shown is not None:
        with st.container(key="result"):
            show(shown)
            details(shown)


PAGE: Page[Any, Any] = Page(
    name="blackbox",
    title="Black box",
    icon=":material/lock:",
    about=prose("blackbox", "About"),
    shared=False,
    body=_body,
)
