// A black square to draw on in white; tells the drawing as a PNG whenever a stroke ends.

const SIDE = 224; // pixels
const STROKE = 18; // width of a stroke: two of MNIST's pixels or a little more

export default function ({ data, parentElement, setStateValue }) {
  if (parentElement.querySelector("canvas")) return;
  const canvas = make("canvas", parentElement);
  canvas.width = canvas.height = SIDE;
  Object.assign(canvas.style, { width: "100%", maxWidth: `${SIDE}px`, aspectRatio: "1", touchAction: "none", cursor: "crosshair",
    display: "block", borderRadius: "var(--st-base-radius)" });
  canvas.role = "img";
  canvas.ariaLabel = "Draw a digit here";
  const clear = make("button", parentElement, "", "Clear");
  clear.type = "button";

  const pen = canvas.getContext("2d");
  const wipe = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, SIDE, SIDE);
  };
  wipe();
  Object.assign(pen, { strokeStyle: "#fff", lineWidth: STROKE, lineCap: "round", lineJoin: "round" });
  if (data.picture) {
    const image = new Image();
    image.onload = () => pen.drawImage(image, 0, 0);
    image.src = data.picture;
  }
  const at = (e) => {
    const box = canvas.getBoundingClientRect();
    return [((e.clientX - box.left) * SIDE) / box.width, ((e.clientY - box.top) * SIDE) / box.height];
  };
  let drawing = false;
  canvas.onpointerdown = (e) => {
    drawing = true;
    canvas.setPointerCapture(e.pointerId);
    pen.beginPath();
    pen.moveTo(...at(e));
    pen.lineTo(...at(e));
    pen.stroke();
  };
  canvas.onpointermove = (e) => {
    if (!drawing) return;
    pen.lineTo(...at(e));
    pen.stroke();
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (drawing) setStateValue("picture", canvas.toDataURL("image/png"));
    drawing = false;
  };
  clear.onclick = () => {
    wipe();
    setStateValue("picture", "");
  };
}
