"""The parts of the Attack page, from the verdict down to the files to take away."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

import streamlit as st
from torch import Tensor

from lab import report
from lab.analysis.boundary import Plane, plane
from lab.analysis.files import Survival, encode, survival
from lab.analysis.linearity import NOISES, Line, along
from lab.analysis.spectrum import spectrum
from lab.analysis.study import Study, study
from lab.figures import attack as figures
from lab.figures.pictures import amplify
from lab.models import zoo
from lab.models.cards import Card, Classifier
from lab.models.catalog import is_here
from lab.ui import cache
from lab.ui.jobs import Job, forget, outcome
from lab.ui.scenario import Scenario
from lab.ui.show import show_chart, show_image, shown_width


@dataclass(frozen=True)
class Shown:
    """A finished attack and the scenario that it was made for."""

    scenario: Scenario
    study: Study

    @property
    def key(self) -> Hashable:
        """What further results depend on: the scenario, and how far the attack came if it was stopped."""
        result = self.study.result
        return self.scenario.key, result.complete or int(result.queries[0])

    @property
    def size(self) -> str:
        """The size of the perturbation, for a person."""
        return figures.scaled(self.study.moved, self.study.norm) + ("" if self.study.norm == "linf" else " in L2")

    @property
    def seen(self) -> str:
        """The name of the class that the model sees in the clean image."""
        return self.scenario.card.classes[self.study.seen]

    @property
    def now(self) -> str:
        """The name of the class that the model sees in the attacked image."""
        return self.scenario.card.classes[self.study.now]


def run_button(scenario: Scenario | None) -> Scenario | None:
    """Draws Run; returns the scenario whose result is to be shown: the one of the last run, at first the sidebar's."""
    with st.sidebar:
        pressed = st.button("Run the attack", type="primary", key="run", width="stretch", disabled=scenario is None)
        live = st.toggle("Run at every change", key="live", persist_state="session")
    applied: Scenario | None = st.session_state.get("_applied")
    changed = scenario is not None and applied is not None and scenario.key != applied.key
    if changed and not (pressed or live):
        note, button = st.columns([4, 1], vertical_alignment="center")
        note.info("The settings have changed since this result.", icon=":material/info:")
        pressed = button.button("Run", key="run_here", width="stretch")
    if scenario is not None and pressed:
        forget("attack", scenario.key)
    if scenario is not None and (pressed or live or applied is None):
        st.session_state["_applied"] = applied = scenario
        changed = False
    st.session_state["_changed"] = changed
    return applied


def previous() -> None:
    """The result before the one that is not there yet, so that a run or an error takes nothing away."""
    shown: Shown | None = st.session_state.get("_shown")
    if shown is not None:
        with st.container(key="previous"):
            st.caption("The previous result:")
            verdict(shown)
            pictures(shown)


def load(key: str, job: Job) -> Classifier:
    """The model, with its progress told where its weights have to be fetched."""
    name = key.split("/")[1]
    if is_here(key):
        job.tell(0.0, "loading the model")
        return cache.model(key)
    job.tell(0.0, "fetching the weights")
    job.poll = partial(zoo.fetched, name)
    try:
        return cache.model(key)
    finally:
        job.poll = None


def compute(scenario: Scenario) -> Shown | None:
    """The attack of a scenario: its result, or None while it is at work."""
    request = scenario.request

    def work(job: Job) -> Study:
        model = load(request.model, job)
        steps = int(request.params.get("steps") or 1)

        def watch(step: int, share: float) -> None:
            job.share, job.message = step / (steps + 1), f"iteration {min(step, steps)} of {steps}"

        return study(
            model,
            scenario.x,
            request.attack,
            target=request.target,
            seed=request.seed,
            cancel=job.cancelled,
            watch=watch,
            params=request.params,
        )

    label = f"Running {scenario.spec.name} on {scenario.card.name}"
    found = outcome("attack", scenario.key, label, work)
    if found is None:
        return None
    st.session_state["_shown"] = shown = Shown(scenario, found)
    return shown


def verdict(shown: Shown) -> None:
    """What happened, as a sentence with numbers."""
    done, name, target = shown.study, shown.scenario.card.name, shown.scenario.request.target
    before, after = f"{done.clean_p.max():.0%}", f"{done.attacked_p.max():.0%}"
    inside = done.norm == "linf"
    moved = f"no pixel moved by more than {shown.size}" if inside else f"the picture moved by {shown.size}"
    if not done.moved:
        text = f"{name} still sees **{shown.seen}** ({after}): the attack did not move the picture."
    elif done.now != done.seen:
        asked = ", as asked" if target is not None and done.fooled else ""
        text = f"{name} now sees **{shown.now}** ({after}) where it saw **{shown.seen}** ({before}){asked}; {moved}."
    else:
        moved = f"pixels moved by up to {shown.size}" if inside else moved
        text = f"{name} still sees **{shown.seen}** ({after}, before {before}), although {moved}."
    st.markdown(f"### {text}")
    if target is not None and not done.fooled:
        st.markdown(f"The goal was *{shown.scenario.card.classes[target]}*; it was not reached.")
    if not done.result.complete:
        st.warning("The attack was stopped before its last iteration: this is how far it came.")


def pictures(shown: Shown) -> None:
    """Clean, perturbation and attacked side by side, and the most probable classes of both."""
    done = shown.study
    magnified, factor = amplify(done.delta[0])
    fit = shown.scenario.card.fit.describe()
    label = shown.scenario.label
    wrong = ""
    if label is not None and label != done.seen:
        wrong = f"; labelled {shown.scenario.card.classes[label]}, so the model was wrong before the attack"
    amplified = f"amplified {figures.times(factor)}" if done.moved else "none"
    columns = (
        ("Clean", done.clean[0], f"{shown.seen}, {done.clean_p.max():.0%}{wrong}", f"What the model sees: {fit}."),
        ("Perturbation", magnified, amplified, "Gray means unchanged."),
        ("Adversarial", done.result.x[0], f"{shown.now}, {done.attacked_p.max():.0%}", None),
    )
    zoom = st.session_state.get("zoom") or 1
    row = st.container(horizontal=True, gap="medium")
    for title, x, caption, help_ in columns:
        with row.container(width=shown_width(x, zoom)):
            st.markdown(f"**{title}**", help=help_)
            show_image(x, f"{title}: {caption}", zoom)
            st.caption(caption)
    numbers(done)
    st.segmented_control(
        "Size of the pictures",
        [1, 2, 3],
        default=1,
        required=True,
        key="zoom",
        format_func=lambda n: f"{n}x",
        label_visibility="collapsed",
        help="Enlarges the pictures by a whole factor, so that they stay exact.",
        persist_state="session",
    )
    classes, target = shown.scenario.card.classes, shown.scenario.request.target
    figure = figures.top_classes(done.clean_p, done.attacked_p, classes, target)
    show_chart(figure, "top5", alt=f"Most probable classes: clean {shown.seen}, attacked {shown.now}")


def numbers(done: Study) -> None:
    """How far the attacked picture is from the clean one, and what it cost."""
    distance, values = done.result.distance, done.clean[0].numel()
    changed = int(distance["l0"][0])
    forwards, backwards = int(done.result.queries[0]), int(done.result.backwards[0])
    measures = (
        ("L∞", f"{distance['linf'][0] * 255:.3g}/255", "The largest change of any value."),
        ("L2", f"{distance['l2'][0]:.3g}", "The Euclidean length of the perturbation, pixels in [0, 1]."),
        ("L0", f"{changed / values:.0%}", f"Of {values:,} values (pixels times channels), {changed:,} changed."),
        ("SSIM", f"{done.ssim:.3f}", "Structural similarity to the clean picture; 1 is equal."),
        ("Passes", f"{forwards} + {backwards}", "Forward and backward passes of the model that the attack used."),
    )
    row = st.container(horizontal=True, gap="large", key="measures")
    for name, value, help_ in measures:
        row.container(width=110).metric(name, value, help=help_)


def iterations(shown: Shown) -> None:
    """The player over the trajectory."""
    done = shown.study
    figure = figures.player(done.result.frames, done.clean[0], 0, done.norm, shown.scenario.card.classes)
    show_chart(
        figure,
        "player",
        "Drag the slider or press Play: the pictures change in the browser. The margin is the logit of the class seen "
        "at first minus the largest other (for a chosen goal: the largest other minus the goal's); below 0 the goal is "
        "reached.",
    )


def epsilon(shown: Shown) -> None:
    """The linearity picture: logits along the attack's direction, with noise as the control."""
    done, scenario = shown.study, shown.scenario
    if not done.moved:
        st.info("The picture did not move, so there is no direction to follow.")
        return

    def work(job: Job) -> Line:
        return along(cache.model(scenario.request.model), done.clean, done.delta, done.norm, seed=scenario.request.seed)

    line = outcome("epsilon", shown.key, "Following the attack's direction", work)
    if line is None:
        return
    card = scenario.card
    flip = "nowhere" if line.flip is None else f"at **{figures.scaled(line.flip, done.norm)}**"
    noise = f"{line.noise_share:.0%} of {NOISES} random noises of the same size change it (one of them is drawn below)"
    st.markdown(f"Along the direction of this attack the class flips at first {flip}; {noise}.")
    show_chart(
        figures.line(line, card.classes, done.norm, scenario.request.target),
        "line",
        "0 is the clean picture, the right end the attacked one; to the left the perturbation is subtracted. Each line "
        "is the logit of a class; the highest wins. Nothing is clipped here, so that the line stays straight in pixel "
        "space (Goodfellow et al. 2015, figure 4).",
    )


def perturbation(shown: Shown) -> None:
    """The perturbation channel by channel, and its spectrum."""
    done = shown.study
    if not done.moved:
        st.info("The picture did not move, so there is no perturbation to show.")
        return
    bound = shown.scenario.request.params.get("eps") if done.norm == "linf" else None
    limit = float(bound or done.delta.abs().max().item())
    show_chart(
        figures.channels(done.delta[0], limit or 1 / 255, done.norm),
        "channels",
        f"The change of each value, one map a channel; blue is brighter, red darker, limits ±{limit * 255:.3g}/255.",
    )
    st.markdown("**Spectrum**")
    show_chart(
        figures.spectrum(spectrum(done.delta[0])),
        "spectrum",
        "Amplitude of each spatial frequency, averaged over the channels: smooth structure in the centre, "
        "pixel-to-pixel noise at the edges.",
    )


def decision_plane(shown: Shown) -> None:
    """Classes over (attack direction x random direction)."""
    done, scenario = shown.study, shown.scenario
    if not done.moved:
        st.info("The picture did not move, so there is no direction to follow.")
        return

    def work(job: Job) -> Plane:
        job.tell(0.0, "289 pictures around this one")
        return plane(
            cache.model(scenario.request.model),
            done.clean,
            done.delta,
            done.norm,
            seed=scenario.request.seed,
            watch=job.tell,
        )

    found = outcome("plane", shown.key, "Asking the model for the classes of the plane", work)
    if found is not None:
        show_chart(
            figures.plane(found, scenario.card.classes, shown.size),
            "plane",
            "Every cell is a picture: to the right the attack's perturbation grows, upwards a random perturbation of "
            "the same size is added. Hover for class and confidence.",
        )


def saved(shown: Shown) -> None:
    """Whether the attack survives being saved, judged on the very files that are offered for download."""
    done, scenario = shown.study, shown.scenario

    def work(job: Job) -> tuple[Survival, ...]:
        return survival(cache.model(scenario.request.model), done.clean, done.result.x.cpu(), done.goal)

    found = outcome("saved", shown.key, "Saving and reading back", work)
    if found is None:
        return
    classes = scenario.card.classes
    rows = []
    for s in found:
        rows.append(
            {
                "saved as": s.name,
                "the model sees": _seen(s.logits, classes),
                "in the clean picture saved so": _seen(s.clean, classes),
                "goal": "reached" if s.success else "not reached",
                "largest change": f"{s.linf * 255:.3g}/255",
                "size": f"{len(s.data):,} bytes" if s.data else "",
            }
        )
    st.dataframe(rows, hide_index=True, width="stretch", key="survival")
    st.caption(
        "A PNG rounds every value to one of 256; a JPEG also discards fine detail, which can move pixels by more than "
        "the attack did. Measured on the bytes of the files that “Take away” offers."
    )


def _seen(logits: Tensor, classes: Sequence[str]) -> str:
    p = logits.softmax(0)
    return f"{classes[int(p.argmax())]} ({p.max():.0%})"


def take_away(shown: Shown) -> None:
    """Files, the Python that reproduces the result, and the link."""
    done, scenario = shown.study, shown.scenario
    request, stem = scenario.request, f"{scenario.request.attack}_{scenario.request.image}"
    told = report.manifest(request, done, scenario.card.classes)
    x = done.result.x[0].cpu()
    offers: tuple[tuple[str, str, str, Callable[[], bytes], str], ...] = (
        ("png", "PNG, 8-bit", "image/png", lambda: encode(x), "png"),
        ("jpeg", "JPEG, quality 75", "image/jpeg", lambda: encode(x, "JPEG", quality=75), "jpg"),
        ("npz", "Arrays (.npz)", "application/octet-stream", lambda: report.arrays(done), "npz"),
        ("json", "Manifest (.json)", "application/json", lambda: json.dumps(told, indent=2).encode(), "json"),
    )
    for column, (key, label, mime, data, ending) in zip(st.columns(len(offers)), offers, strict=True):
        column.download_button(
            label,
            data,
            f"{stem}.{ending}",
            mime,
            key=f"download_{key}",
            on_click="ignore",
            width="stretch",
            icon=":material/download:",
        )
    st.markdown("**The Python that computes this**")
    st.code(report.python(request), language="python", wrap_lines=True)
    st.markdown(
        "**The link to this scenario**" + ("; your own picture is not part of it." if request.dataset == "file" else "")
    )
    if st.session_state.get("_changed"):
        st.caption("The settings have changed since this result, and the link would be theirs: run the attack first.")
    else:
        query = urlencode(st.query_params.to_dict())
        st.code((st.context.url or "") + (f"?{query}" if query else ""), language=None, wrap_lines=True)
    with st.expander("The manifest"):
        st.json(told)


def how_it_works(shown: Shown) -> None:
    """The formula, the paper, and where the code is."""
    spec, params = shown.scenario.spec, shown.scenario.request.params
    st.markdown(f"**{spec.name}.** {spec.summary}")
    st.latex(spec.formula)
    st.markdown(
        r"$x$ is the picture, $y$ the class the model sees, $J$ the cross-entropy loss, $\epsilon$ the largest allowed "
        r"change, $\alpha$ the step size, and $\Pi_\epsilon$ keeps the picture within $\epsilon$ and inside [0, 1]. "
        "With a chosen goal the loss towards that class is descended instead."
    )
    for paper in spec.papers:
        st.markdown(f"[{paper.citation}]({paper.url})")
    module = spec.make.__module__.replace(".", "/")
    st.markdown(f"Access: {spec.access.value}. Code: `{module}.py`, driver `lab/attacks/run.py`.")
    st.caption("Parameters of this run: " + ", ".join(f"{k} = {_told(v)}" for k, v in params.items()))

    st.divider()
    about_model(shown.scenario.card)


def about_model(card: Card) -> None:
    """What is known of a model, from its card."""
    st.markdown(f"**{card.name}.** {card.summary}")
    told = [f"Source: {card.source}. Licence of the weights: {card.licence}."]
    if card.accuracy is not None:
        told.append(f"Accuracy: {card.accuracy:.2%} {card.accuracy_note}.")
    elif card.accuracy_note:
        told.append(f"Accuracy: {card.accuracy_note}.")
    if card.parameters:
        told.append(f"{card.parameters:,} parameters.")
    st.markdown("  \n".join(told))
    if card.robust:
        rows = [
            {"attack": r.attack, "norm": r.norm, "epsilon": r.eps, "accuracy": f"{r.accuracy:.1%}", "images": r.n}
            for r in card.robust
        ]
        st.dataframe(rows, hide_index=True, width="content", key="robust")
        st.caption("Accuracy under attack, measured by the lab when the model was trained.")


def _told(value: object) -> str:
    return "automatic" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


TABS: Mapping[str, Callable[[Shown], None]] = {
    "Iterations": iterations,
    "Epsilon": epsilon,
    "Perturbation": perturbation,
    "Decision plane": decision_plane,
    "Saved as a file": saved,
    "Take away": take_away,
    "How it works": how_it_works,
}


def details(shown: Shown) -> None:
    """The tabs; each is computed when it is opened."""
    for tab, draw in zip(st.tabs(list(TABS), key="detail", on_change="rerun"), TABS.values(), strict=True):
        if tab.open:
            with tab:
                draw(shown)
