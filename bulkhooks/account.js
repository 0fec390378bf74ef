"use strict";
// What the page lists is in a block of data: rows of state, tenant, name, cause, edit, time sent,
// and the change that it is one of. All of it is put in as text.
(() => {
  const SIZE = 50;
  const id = (name) => document.getElementById(name);
  const rows = JSON.parse(id("data").textContent);
  const haystacks = rows.map((row) => row.slice(0, 5).join("\n").toLowerCase());
  const shades = { failed: "blocked", uncertain: "blocked", skipped: "open", pending: "open" };
  let found = [];
  let page = 0;

  const element = (name, text, shade) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (shade) made.className = shade;
    return made;
  };

  const named = (name, place) => {
    if (!place) return element("td", name, "name");
    const link = element("a", name || "(no name)");
    link.href = `#c${place}`;
    const cell = element("td", "", "name");
    cell.append(link);
    return cell;
  };

  const line = ([state, tenant, name, cause, edit, sent, place]) => {
    const made = element("tr");
    made.append(
      element("td", state, shades[state] || "ready"),
      element("td", tenant, "name"),
      named(name, place),
      element("td", cause, "cause-of"),
      element("td", edit, "name"),
      element("td", sent),
    );
    return made;
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(found.length / SIZE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const here = found.slice(page * SIZE, (page + 1) * SIZE);
    id("rows").replaceChildren(...here.map((n) => line(rows[n])));
    const many = (count) => `${count.toLocaleString("en")} ${count === 1 ? "item" : "items"}`;
    const all = found.length === rows.length;
    id("shown").textContent = all ? many(rows.length) : `${many(found.length)} of ${rows.length.toLocaleString("en")}`;
    id("page").textContent = `page ${page + 1} of ${pages}`;
    id("back").disabled = page === 0;
    id("on").disabled = page === pages - 1;
  };

  const filter = () => {
    const wanted = id("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = id("state").value;
    found = [];
    for (let n = 0; n < rows.length; n += 1) {
      const fits = !state || rows[n][0] === state;
      if (fits && wanted.every((word) => haystacks[n].includes(word))) found.push(n);
    }
    page = 0;
    show();
  };

  const copy = async (code, button) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  for (const code of document.querySelectorAll(".command")) {
    const button = element("button", "Copy", "copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy: ${code.textContent}`);
    button.addEventListener("click", () => copy(code, button));
    code.after(button);
  }
  id("filter").addEventListener("input", filter);
  id("state").addEventListener("change", filter);
  id("back").addEventListener("click", () => { page -= 1; show(); });
  id("on").addEventListener("click", () => { page += 1; show(); });
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details:not(.multiples)")) each.open = true;
  });
  id("list").hidden = false;
  filter();
})();
