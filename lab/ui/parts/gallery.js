// Thumbnails to choose from, in groups; tells the one that is clicked.

export default function ({ data, parentElement, setTriggerValue }) {
  const told = JSON.stringify(data);
  if (parentElement.told === told) return;
  parentElement.told = told;
  parentElement.querySelector(".gallery")?.remove();
  const root = document.createElement("div");
  root.className = "gallery";
  parentElement.append(root);
  for (const each of data.pictures) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", each.id === data.chosen);
    const image = document.createElement("img");
    image.src = each.image;
    image.alt = "";
    const name = document.createElement("span");
    name.textContent = each.name;
    button.append(image, name);
    button.onclick = () => setTriggerValue("chosen", each.id);
    root.append(button);
  }
}
