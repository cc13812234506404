"use strict";
for (const button of document.querySelectorAll("button.copy")) {
  const code = button.parentElement.querySelector("code");
  const label = button.textContent, name = button.getAttribute("aria-label");
  const say = (text, spoken) => { button.textContent = text; button.setAttribute("aria-label", spoken); };
  button.hidden = false;
  button.addEventListener("click", async () => {
    // Only pages by https or of this machine have a clipboard; elsewhere the text is selected and copied.
    let copied = false;
    if (navigator.clipboard) {
      copied = await navigator.clipboard.writeText(code.textContent).then(() => true, () => false);
    }
    if (!copied) {
      getSelection().selectAllChildren(code);
      copied = document.execCommand("copy");
    }
    const said = copied ? "Copied" : "Press Ctrl+C";
    say(said, said);
    setTimeout(say, 2000, label, name);
  });
}
const field = document.getElementById("q"), found = document.getElementById("found");
if (field && found) {
  const url = field.form.action;
  let asked = 0, timer = 0;
  const show = (results) => {
    found.replaceChildren();
    if (!results.length) return;
    const list = document.createElement("ul");
    for (const result of results) {
      const item = document.createElement("li"), link = document.createElement("a");
      link.href = new URL(`../project/${encodeURIComponent(result.name)}/`, url);
      link.append(result.name);
      if (result.summary) {
        const summary = document.createElement("span");
        summary.append(` ${result.summary}`);
        link.append(summary);
      }
      item.append(link);
      list.append(item);
    }
    found.append(list);
  };
  const ask = async () => {
    const query = field.value.trim(), number = ++asked;
    if (!query) return show([]);
    try {
      const answer = await fetch(`${url}?limit=8&q=${encodeURIComponent(query)}`, { headers: { Accept: "application/json" } });
      if (answer.ok && number === asked) show((await answer.json()).results);
    } catch { /* The form still works. */ }
  };
  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 120); });
  field.form.addEventListener("keydown", (event) => {
    const links = [...found.querySelectorAll("a")], at = links.indexOf(document.activeElement);
    if (event.key === "Escape") { asked++; show([]); field.focus(); }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !links.length) return;
    event.preventDefault();
    (links[at + step] || field).focus();
  });
  field.form.addEventListener("focusout", (event) => {
    if (!field.form.contains(event.relatedTarget)) { asked++; show([]); }
  });
}
