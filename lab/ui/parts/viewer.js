// Shows pictures of one size side by side, or the first two on top of one another; all are zoomed and moved together.

const EVERY = 600; // milliseconds that a picture is shown while they blink
const MODES = { beside: "Side by side", wipe: "Wipe", blink: "Blink" };
const LARGEST = 16; // times that a picture is enlarged at most

export default function ({ data, parentElement }) {
  const told = JSON.stringify(data);
  if (parentElement.told === told) return parentElement.stop; // the page ran again with the same pictures: stay as it is
  const before = parentElement.view ?? { mode: "beside", zoom: 1, x: 0, y: 0, seam: 50 };
  parentElement.stop?.();
  parentElement.told = told;
  parentElement.querySelector(".viewer")?.remove();

  const view = (parentElement.view = { ...before });
  if (!data.pair) view.mode = "beside";
  const root = make("div", parentElement, "viewer");
  const tiles = make("div", root, "tiles");
  const bar = make("div", root, "bar");
  let timer = null;
  let images = [];
  let seam = null;

  function place() {
    const most = 1 - view.zoom; // how far the picture can be moved, in parts of the frame
    view.x = Math.min(0, Math.max(most, view.x));
    view.y = Math.min(0, Math.max(most, view.y));
    for (const image of images) {
      image.style.transform = `scale(${view.zoom}) translate(${(100 * view.x) / view.zoom}%, ${(100 * view.y) / view.zoom}%)`;
      const shown = (image.getBoundingClientRect().width || image.width) / (image.naturalWidth || 1);
      image.style.imageRendering = shown >= 2 ? "pixelated" : "auto";
    }
    for (const frame of root.querySelectorAll(".frame")) frame.classList.toggle("moves", view.zoom > 1);
    if (seam) {
      seam.bar.style.left = `${view.seam}%`;
      seam.over.style.clipPath = "none";
      seam.window.style.clipPath = `inset(0 0 0 ${view.seam}%)`;
    }
    out.disabled = view.zoom <= 1;
    into.disabled = view.zoom >= LARGEST;
    level.textContent = `${view.zoom}x`;
    level.title = "As they were";
  }

  function picture(parent, tile, className) {
    const image = make("img", parent, className);
    image.alt = `${tile.title}: ${tile.caption}`;
    image.onload = place;
    image.src = tile.image;
    images.push(image);
    return image;
  }

  function figure(tile) {
    const held = make("figure", tiles);
    const title = make("figcaption", held, "", tile.title);
    if (tile.help) title.title = tile.help;
    const frame = make("div", held, "frame");
    picture(frame, tile);
    const caption = make("p", held, "", tile.caption);
    drag(frame);
    return { title, frame, caption };
  }

  function drag(frame) {
    let from = null;
    frame.onpointerdown = (e) => {
      if (view.zoom <= 1 || e.target.tagName === "INPUT") return;
      from = { x: e.clientX, y: e.clientY, at: { ...view } };
      frame.setPointerCapture(e.pointerId);
    };
    frame.onpointermove = (e) => {
      if (!from) return;
      const box = frame.getBoundingClientRect();
      view.x = from.at.x + (e.clientX - from.x) / box.width;
      view.y = from.at.y + (e.clientY - from.y) / box.height;
      place();
    };
    frame.onpointerup = frame.onpointercancel = () => (from = null);
    frame.ondblclick = (e) => {
      const box = frame.getBoundingClientRect();
      zoom(view.zoom >= LARGEST ? 1 : 2 * view.zoom, (e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height);
    };
  }

  function zoom(to, x = 0.5, y = 0.5) {
    const next = Math.min(LARGEST, Math.max(1, to));
    view.x = x - ((x - view.x) * next) / view.zoom;
    view.y = y - ((y - view.y) * next) / view.zoom;
    view.zoom = next;
    place();
  }

  function stop() {
    clearInterval(timer);
    timer = null;
  }

  function draw() {
    stop();
    tiles.replaceChildren();
    images = [];
    seam = null;
    const [first, second, ...others] = data.tiles;
    const shown = view.mode === "beside" ? data.tiles : [first, ...others];
    tiles.style.setProperty("--count", shown.length);
    tiles.style.setProperty("--widest", `${shown.length * data.widest}px`);
    shown.forEach((tile, k) => {
      const made = figure(tile);
      if (k || view.mode === "beside") return;
      if (view.mode === "wipe") {
        made.title.textContent = `${first.title} | ${second.title}`;
        made.caption.textContent = `left: ${first.caption}; right: ${second.caption}`;
        const window = make("div", made.frame);
        Object.assign(window.style, { position: "absolute", inset: 0 });
        const over = picture(window, second, "over");
        const line = make("div", made.frame, "seam");
        const slider = make("input", made.frame);
        Object.assign(slider, { type: "range", min: 0, max: 100, step: 1, value: view.seam, ariaLabel: "Where one picture ends" });
        slider.oninput = () => {
          view.seam = Number(slider.value);
          place();
        };
        seam = { over, window, bar: line };
      } else {
        const over = picture(made.frame, second, "over");
        let now = 0;
        const turn = (which) => {
          now = which;
          over.style.visibility = now ? "visible" : "hidden";
          const tile = now ? second : first;
          made.title.textContent = tile.title;
          made.caption.textContent = tile.caption;
        };
        turn(0);
        timer = setInterval(() => turn(1 - now), EVERY);
      }
    });
    for (const [mode, button] of Object.entries(modes)) button.setAttribute("aria-pressed", mode === view.mode);
    place();
  }

  function button(parent, text, label, act) {
    const made = make("button", parent, "", text);
    made.type = "button";
    if (label) made.ariaLabel = label;
    made.onclick = act;
    return made;
  }

  const modes = {};
  if (data.pair) {
    const group = make("div", bar);
    group.role = "group";
    group.ariaLabel = "How the two pictures are compared";
    for (const [mode, text] of Object.entries(MODES)) {
      modes[mode] = button(group, text, "", () => {
        view.mode = mode;
        draw();
      });
    }
  }
  const sizes = make("div", bar);
  sizes.role = "group";
  sizes.ariaLabel = "Enlarge all pictures";
  const out = button(sizes, "−", "Smaller", () => zoom(view.zoom / 2));
  const level = button(sizes, "1x", "", () => zoom(1));
  const into = button(sizes, "+", "Larger", () => zoom(view.zoom * 2));
  draw();
  const watch = new ResizeObserver(place);
  watch.observe(root);
  parentElement.stop = () => {
    stop();
    watch.disconnect();
  };
  return parentElement.stop;
}
