// Draws a film (see lab/figures/film.py): pictures and curves at one stop, moved by the slider, the curves or the keys.

const EVERY = 350; // milliseconds that a stop is shown while playing
const SETTLED = 600; // milliseconds after which the stop that is shown is told

const short = (v, unit) =>
  v === null ? "none yet" : v && Math.abs(v) < 1e-3 ? v.toExponential(1) + unit : Number(v.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 }) + unit;

function figure(parent, caption) {
  const held = make("figure", parent);
  make("figcaption", held, "", caption);
  const image = make("img", held);
  image.alt = caption;
  return image;
}

function drawCurve(parent, curve, at, jump) {
  const behind = curve.behind ?? [];
  const known = curve.values.filter((v) => v !== null).concat(behind, curve.covers);
  const low = Math.min(...known);
  const high = Math.max(...known) > low ? Math.max(...known) : low + 1;
  const last = at[at.length - 1] - at[0] || 1;
  const x = (i) => (100 * (at[i] - at[0])) / last;
  const y = (v) => 100 - (100 * (v - low)) / (high - low);

  const held = make("div", parent);
  const title = make("div", held, "title");
  make("span", title, "", curve.title);
  const value = make("b", title);
  const plot = make("div", held, "plot");
  const range = make("div", plot, "range");
  make("span", range, "", short(high, curve.unit));
  make("span", range, "", short(low, curve.unit));
  const area = make("div", plot, "area");
  const path = (values, kind) => {
    const points = values.map((v, i) => (v === null ? "" : `${x(i)},${y(v)}`)).filter(Boolean);
    return points.length ? `<path class="${kind}" d="M${points.join("L")}"/>` : "";
  };
  const zero = low < 0 && high > 0 ? `<line x1="0" x2="100" y1="${y(0)}" y2="${y(0)}"/>` : "";
  area.innerHTML = `<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">${zero}${path(behind, "behind")}${path(curve.values, "")}</svg>`;
  const dot = make("div", area, "dot");
  area.onclick = (e) => {
    const box = area.getBoundingClientRect();
    jump(at[0] + (last * (e.clientX - box.left)) / box.width);
  };
  return (i) => {
    const v = curve.values[i];
    value.textContent = short(v, curve.unit);
    dot.hidden = v === null;
    if (v !== null) Object.assign(dot.style, { left: `${x(i)}%`, top: `${y(v)}%` });
  };
}

export default function ({ data, parentElement, setStateValue }) {
  const told = JSON.stringify({ ...data, start: 0 });
  if (parentElement.told === told) {
    // the page ran again with the same film: stay where it is, unless another moment was chosen elsewhere
    if (parentElement.start !== data.start) parentElement.go(data.start);
    parentElement.start = data.start;
    return parentElement.stop;
  }
  parentElement.start = data.start;
  parentElement.stop?.();
  parentElement.told = told;
  parentElement.querySelector(".player")?.remove();

  const { stops, curves, at } = data;
  const root = make("div", parentElement, "player");
  const stage = make("div", root, "stage");
  const pictures = make("div", stage, "pictures");
  const image = figure(pictures, "image at this moment");
  const perturbation = figure(pictures, data.amplified);
  const side = make("div", stage, "curves");
  const nearest = (place) =>
    stops.reduce((best, s, i) => (Math.abs(at[s.point] - place) < Math.abs(at[stops[best].point] - place) ? i : best), 0);
  const moves = curves.map((curve) => drawCurve(side, curve, at, (place) => move(nearest(place))));
  const axis = make("div", side, "axis");
  for (const text of [at[0].toLocaleString("en"), data.axis, at[at.length - 1].toLocaleString("en")]) make("span", axis, "", text);

  const controls = make("div", root, "controls");
  const button = make("button", controls, "", "Play");
  button.type = "button";
  const slider = make("input", controls);
  Object.assign(slider, { type: "range", min: 0, max: stops.length - 1, step: 1, ariaLabel: "Stop of the film" });
  const output = make("output", controls);

  let now = data.start;
  let timer = null;
  let settling = null;
  function tell() {
    clearTimeout(settling);
    settling = setTimeout(() => timer || setStateValue("stop", now), SETTLED);
  }
  function go(i) {
    now = Math.max(0, Math.min(i, stops.length - 1));
    const stop = stops[now];
    slider.value = now;
    slider.setAttribute("aria-valuetext", stop.text);
    image.src = stop.image;
    perturbation.src = stop.perturbation;
    output.textContent = stop.text;
    moves.forEach((move) => move(stop.point));
  }
  function move(i) {
    go(i);
    tell();
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
    tell();
  }
  function toggle() {
    if (timer) return stop();
    if (now === stops.length - 1) go(0);
    button.textContent = "Stop";
    timer = setInterval(() => (now === stops.length - 1 ? stop() : go(now + 1)), EVERY);
  }
  button.onclick = toggle;
  slider.oninput = () => move(Number(slider.value));
  stage.onclick = () => slider.focus();
  root.onkeydown = (e) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[e.key];
    if (by) move(now + by);
    else if (e.key === "Home") move(0);
    else if (e.key === "End") move(stops.length - 1);
    else if (e.key === " ") toggle();
    else return;
    e.preventDefault();
  };
  go(now);
  parentElement.go = go;
  parentElement.stop = () => {
    clearInterval(timer);
    clearTimeout(settling);
  };
  return parentElement.stop;
}
