// Thumbnails to choose from, in groups; tells the one that is clicked.

export default function ({ data, parentElement, setTriggerValue }) {
  const told = JSON.stringify(data);
  if (parentElement.told === told) return;
  parentElement.told = told;
  parentElement.querySelector(".gallery")?.remove();
  const root = make("div", parentElement, "gallery");
  for (const each of data.pictures) {
    const button = make("button", root);
    button.type = "button";
    button.setAttribute("aria-pressed", each.id === data.chosen);
    Object.assign(make("img", button), { src: each.image, alt: "" });
    make("span", button, "", each.name);
    button.onclick = () => setTriggerValue("chosen", each.id);
  }
}
