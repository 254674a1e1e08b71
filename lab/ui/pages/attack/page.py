"""The parts of the Attack page, from the run button down to the files to take away."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st
from torch import Tensor

from lab.experiments.attack import report
from lab.experiments.attack.linearity import NOISES, Line, along
from lab.experiments.attack.plane import Plane, plane
from lab.experiments.attack.saved import Survival, survival
from lab.experiments.attack.spectrum import spectrum
from lab.figures import attack as figures
from lab.figures.film import film
from lab.figures.pictures import amplify
from lab.images import encode
from lab.ui.pages.compare.page import offer
from lab.ui.parts.describe import about_attack
from lab.ui.parts.pickers import DEFAULT_ATTACK, UNPREFIXED
from lab.ui.parts.player import show_player
from lab.ui.parts.result import (
    Shown,
    about_model,
    attacked_tile,
    clean_tile,
    compute,
    measures,
    run_button,
    show_link,
    verdict,
)
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.shared import pick_scenario
from lab.ui.parts.show import show_chart, show_tabs
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell import cache
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose


def settle(scenario: Scenario | None) -> Scenario | None:
    """Draws the run button; returns the scenario whose result is to be shown."""
    return run_button(scenario, "attack", "Run the attack", lambda s: forget("attack", s.key))


def attacked(scenario: Scenario) -> Shown | None:
    """The result of a scenario; None while it is at work, and then the result before it stays on the page."""
    shown = compute(scenario)
    if shown is not None:
        st.session_state["_shown"] = shown
        return shown
    before: Shown | None = st.session_state.get("_shown")
    if before is not None:  # so that a run or an error takes nothing away
        with st.container(key="previous"):
            st.caption("The previous result:")
            verdict(before)
            pictures(before)
    return None


def pictures(shown: Shown) -> None:
    """Clean, perturbation and attacked side by side, the numbers, and the most probable classes of both."""
    done = shown.run
    magnified, factor = amplify(done.delta[0])
    amplified = f"amplified {figures.times(factor)}" if done.moved else "none"
    perturbation = Tile("Perturbation", magnified, amplified, "Gray means unchanged.")
    zoom = st.session_state.get("zoom") or 1
    if zoom == 1:
        show_tiles([[clean_tile(shown)], [perturbation], [attacked_tile(shown)]])
    else:  # three do not fit beside each other: the two that are compared stay on one line
        show_tiles([[clean_tile(shown)], [attacked_tile(shown)], [perturbation]], zoom)
    row = st.container(horizontal=True, gap="medium", key="measures")
    for measure in measures(done):
        row.container(width=120).metric(measure.name, measure.value, help=measure.help)
    row = st.container(horizontal=True, gap="medium", vertical_alignment="center")
    row.segmented_control(
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
    with row.container(width="content", key="compare"):
        offer(shown.scenario)
    classes, target = shown.scenario.card.classes, shown.scenario.request.target
    figure = figures.top_classes(done.clean_p, done.attacked_p, classes, target)
    show_chart(figure, "top5", alt=f"Most probable classes: clean {shown.seen}, attacked {shown.now}")


def iterations(shown: Shown) -> None:
    """The player over the trajectory."""
    done, told = shown.run, shown.told
    kept = st.session_state.get("_film")  # its pictures take long to compress, so only once
    if kept is None or kept[0] != shown.key:
        kept = shown.key, film(done.result.frames, done.clean[0], 0, shown.scenario.card.classes, told)
        st.session_state["_film"] = kept
    show_player(kept[1], "player")
    rival = "the largest other minus the goal's" if told.targeted else "that of the class seen at first minus the rest"
    st.caption(
        "Drag the slider, click into a curve, or press Play; the arrow keys step, the space bar plays. The margin is a "
        f"difference of logits, {rival}; below 0 the goal is reached."
        + (" The attack itself does not see it: it is told only the label." if told.by_labels else "")
        + (" The result above is the closest of all iterations that reached the goal." if told.closest else "")
    )


def epsilon(shown: Shown) -> None:
    """The linearity picture: logits along the attack's direction, with noise as the control."""
    done, scenario = shown.run, shown.scenario
    if not done.moved:
        st.info("The picture did not move, so there is no direction to follow.")
        return
    norm, aimed = done.line_norm, done.goal.targeted

    def work(job: Job) -> Line:
        job.tell(0.0, "pictures along it, and where the class changes")
        model = cache.model(scenario.request.model)
        goal = done.goal if aimed else None
        return along(model, done.clean, done.delta, norm, goal=goal, seed=scenario.request.seed)

    line = outcome("epsilon", shown.key, "Following the attack's direction", work)
    if line is None:
        return

    def place(at: float | None) -> str:
        return "nowhere" if at is None else f"at **{figures.scaled(at, norm)}**"

    text = f"Along the direction of this attack the class changes at first {place(line.flip)}"
    noises = f"{line.noise_share:.0%} of {NOISES} random noises of the same size change the class"
    if aimed:
        goal_name = scenario.card.classes[int(done.goal.labels[0])]
        text += f", and the goal, *{goal_name}*, is reached {place(line.reached)}"
        noises += f", and {line.noise_reached:.0%} reach the goal"
    st.markdown(f"{text}. {noises} (one of them is drawn below).")
    show_chart(
        figures.line(line, scenario.card.classes, norm, scenario.request.target),
        "line",
        "0 is the clean picture, the right end the attacked one; to the left the perturbation is subtracted. Each line "
        "is the logit of a class; the highest wins. Nothing is clipped here, so that the line stays straight in pixel "
        "space (Goodfellow et al. 2015, figure 4).",
    )


def perturbation(shown: Shown) -> None:
    """The perturbation channel by channel, and its spectrum."""
    done = shown.run
    if not done.moved:
        st.info("The picture did not move, so there is no perturbation to show.")
        return
    bound = shown.scenario.request.params.get("eps") if done.norm == "linf" else None
    limit = float(bound or done.delta.abs().max().item())
    show_chart(
        figures.channels(done.delta[0], limit or 1 / 255),
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
    done, scenario = shown.run, shown.scenario
    if not done.moved:
        st.info("The picture did not move, so there is no direction to follow.")
        return

    def work(job: Job) -> Plane:
        job.tell(0.0, "289 pictures around this one")
        return plane(
            cache.model(scenario.request.model),
            done.clean,
            done.delta,
            done.line_norm,
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
    done, scenario = shown.run, shown.scenario

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
    done, scenario = shown.run, shown.scenario
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
    show_link(request)
    with st.expander("The manifest"):
        st.json(told)


def how_it_works(shown: Shown) -> None:
    """The formula, the papers, where the code is, this run's parameters, and the model."""
    about_attack(shown.scenario.spec, shown.run.norm)
    params = shown.scenario.request.params
    st.caption("Parameters of this run: " + ", ".join(f"{k} = {_told(v)}" for k, v in params.items()))
    st.divider()
    about_model(shown.scenario.card)


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
    """The tabs; each is computed when it is opened. The open one stays open when the page is left and entered again."""
    if "detail" not in st.session_state and "_detail" in st.session_state:
        st.session_state["detail"] = st.session_state["_detail"]
    show_tabs(TABS, "detail", shown)
    st.session_state["_detail"] = st.session_state["detail"]


def _body() -> None:
    scenario = settle(pick_scenario(UNPREFIXED, DEFAULT_ATTACK))
    if scenario is None:
        st.info("Choose a picture and settings that work in the sidebar; the reason is written there.")
        return
    shown = attacked(scenario)
    if shown is not None:
        with st.container(key="result"):
            verdict(shown)
            pictures(shown)
            details(shown)


PAGE: Page[Any, Any] = Page(
    name="attack",
    title="Attack",
    icon=":material/bolt:",
    about=prose("attack", "About"),
    shared=True,
    body=_body,
)
