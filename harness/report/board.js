// The board: sorting, filtering, the charts' switches, and every run.
const board = $("cells");
const blocks = board ? [...board.tBodies].map((body) => ({ body, head: body.rows[0], rows: [...body.rows].slice(1), order: [...body.rows].slice(1) })) : [];

function number(key, at) {
  if (key === "method") return word("method", at).toLowerCase();
  if (key.startsWith("b:")) return cells[key].score[at];
  if (key === "frontier_probability") return chance(at);
  const costs = { "cost:total": ["measured", "total"], "cost:select": ["measured", "select"], "cost:paper": ["paper", "total"] }[key];
  if (costs) return cost(at, ...costs);
  if (key === "cost:train") return cost(at, "measured", "total") - cost(at, "measured", "select");
  return cells[key]?.words ? word(key, at) : cells[key]?.[at];
}
function arrange() {
  const [key, down] = state.sort;
  const compare = (one, other) => {
    const [a, b] = [Number(one.dataset.cell), Number(other.dataset.cell)], floors = cells.floor[a] - cells.floor[b];
    if (floors) return floors;
    const [x, y] = [number(key, a), number(key, b)];
    if (!known(x) || !known(y)) return Number(!known(x)) - Number(!known(y));
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return down ? -order : order;
  };
  for (const heading of board.tHead.rows[0].cells) {
    if (heading.dataset.key === key) heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
  const sorted = (rows) => (key ? [...rows].sort(compare) : rows);
  const lists = state.oneList ? [blocks.flatMap((block) => block.rows)] : blocks.map((block) => block.rows);
  blocks.forEach((block, at) => {
    block.head.hidden = state.oneList;
    block.body.replaceChildren(block.head, ...sorted(lists[at] ?? []));
  });
}
function filter() {
  const seen = new Set(), all = new Set();
  for (const body of board.tBodies) {
    let some = false;
    for (const row of body.rows) {
      if (!row.dataset.cell) continue;
      const at = Number(row.dataset.cell), again = state.oneList && seen.has(at);
      all.add(at);
      const visible = shown(at) && !again;
      row.hidden = !visible;
      if (visible) { seen.add(at); some ||= state.oneList || !cells.floor[at] || state.search !== ""; }
    }
    const lonely = data.groups.length === 1 || [...body.rows].every((row) => !row.dataset.cell || cells.floor[Number(row.dataset.cell)]);
    if (!some && !state.oneList && !lonely) for (const row of body.rows) row.hidden = true;
    else if (!state.oneList) body.rows[0].hidden = false;
  }
  const left = [...board.querySelectorAll("tr[data-cell]:not([hidden])")];
  $("count").textContent = `${new Set(left.map((row) => row.dataset.cell)).size} of ${all.size} rows`;
  if ($("every-run").open) listRuns();
}
// The board's column of chances follows the charts' switches, as what a point says does.
function chances() {
  const heads = [...board.tHead.rows[0].cells], at = heads.findIndex((head) => head.dataset.key === "frontier_probability");
  heads[at].title = `share of bootstrap draws in which nothing cheaper is as good (${costWords()})`;
  for (const row of blocks.flatMap((block) => block.order)) {
    const share = chance(Number(row.dataset.cell)), cell = row.cells[at];
    cell.textContent = known(share) ? `${Math.round(100 * share)} %` : "";
    cell.classList.toggle("soft", known(share) && share < 0.005);
  }
  if (state.sort[0] === "frontier_probability") { arrange(); filter(); }
}
function columnsShown() {
  const heads = [...board.tHead.rows[0].cells];
  const off = heads.map((head) => state.hidden.includes(head.dataset.group));
  let style = $("columns-style");
  if (!style) { style = document.createElement("style"); style.id = "columns-style"; document.head.append(style); }
  style.textContent = off.map((hide, at) => (hide ? `#cells thead th:nth-child(${at + 1}), #cells tr[data-cell] > :nth-child(${at + 1}) { display: none; }` : "")).join("\n");
}

// -- controls -------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
function choose(words, options, current, change) {
  const select = element("select", {}, ...options.map(([key, text]) => element("option", { value: key, textContent: short(text, 60) })));
  select.value = current;
  select.addEventListener("change", () => change(select.value));
  return element("label", {}, words, select);
}
function pick(words, name, options, current, change) {
  return element("fieldset", {}, element("legend", { textContent: words }), ...options.map(([key, text]) => {
    const input = element("input", { type: "radio", name, value: key, checked: key === current });
    input.addEventListener("change", () => change(key));
    return element("label", { className: "tick" }, input, text);
  }));
}
let filled = 0;
function switches() {
  // Built anew after a change, so that the same switch under two charts says the same.
  const focus = document.activeElement?.dataset?.switch;
  filled += 1;
  for (const place of document.querySelectorAll(".controls[data-for]")) {
    const name = place.dataset.for, uses = USES[name], parts = [];
    const set = (key) => (chosen) => {
      state[key] = chosen;
      if (board && ["costs", "part"].includes(key)) chances();
      switches();
      redraw();
    };
    if (uses.includes("panel") && data.panels.length > 1) {
      parts.push(choose("setting", data.panels.map((words, at) => [at, words]), state.panel, (at) => { state.panel = Number(at); switches(); redraw(); }));
    }
    if (uses.includes("group") && data.groups.length > 1) {
      parts.push(choose("setting", data.groups.map((group, at) => [at, group.title]), data.groups.indexOf(groupOf()), (at) => { state.group = Number(at); switches(); redraw(); }));
    }
    if (uses.includes("costs")) parts.push(pick("FLOPs", `${name}-costs-${filled}`, [["measured", "measured"], ["paper", "paper's"]], state.costs, set("costs")));
    if (uses.includes("part")) parts.push(pick("costs", `${name}-part-${filled}`, [["total", "selection + training"], ["select", "selection only"]], state.part, set("part")));
    if (uses.includes("benchmark")) parts.push(choose("benchmark", [["", "all"], ...data.benchmarks.map((one) => [one, one]), ["mean", "mean"]], state.benchmark, set("benchmark")));
    if (uses.includes("measure")) parts.push(pick("show", `${name}-measure-${filled}`, [["score", "score"], ["difference", `difference to ${short(data.reference, 16)}`]], state.measure, set("measure")));
    parts.flatMap((part) => [...part.querySelectorAll("input, select")]).forEach((one, at) => { one.dataset.switch = `${name} ${at}`; });
    place.replaceChildren(...parts);
    place.hidden = !parts.length;
  }
  if (focus) document.querySelector(`[data-switch="${CSS.escape(focus)}"]`)?.focus();
}
function filters() {
  const change = () => { filter(); switches(); redraw(); };
  const places = CHOICES.filter((name) => new Set(every.filter((at) => !cells.floor[at]).map((at) => value(name, at))).size > 1).map((name) => {
    const found = [...new Set(every.filter((at) => !cells.floor[at]).map((at) => value(name, at)))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (!found.includes(state.choices[name])) delete state.choices[name];
    const label = choose(name.replace("_", " "), [["", "all"], ...found.map((one) => [one, NUMBERS.includes(name) ? whole(one) : one])], state.choices[name] ?? "", (chosen) => {
      if (chosen) state.choices[name] = chosen; else delete state.choices[name];
      state.group = null;
      change();
    });
    label.lastChild.dataset.choice = name;
    return label;
  });
  for (const old of document.querySelectorAll("#filters [data-choice]")) old.parentElement.remove();
  $("choices").before(...places);
  $("search").value = state.search;
  for (const [id, key] of [["no-floors", "noFloors"], ["no-ties", "noTies"], ["one-list", "oneList"]]) $(id).checked = state[key];
  for (const box of $("columns").querySelectorAll("input")) box.checked = !state.hidden.includes(box.value);
  return change;
}
function listen(change) {
  let typing = 0;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { state.search = $("search").value.trim(); change(); }, 120); });
  for (const [id, key] of [["no-floors", "noFloors"], ["no-ties", "noTies"], ["one-list", "oneList"]]) {
    $(id).addEventListener("change", () => { state[key] = $(id).checked; if (key === "oneList") arrange(); change(); });
  }
  $("columns").addEventListener("change", () => {
    state.hidden = [...$("columns").querySelectorAll("input:not(:checked)")].map((box) => box.value);
    columnsShown();
  });
  $("reset").addEventListener("click", () => { Object.assign(state, FRESH()); filters(); chances(); arrange(); columnsShown(); change(); });
  board.tHead.addEventListener("click", (event) => {
    const key = event.target.closest("button")?.parentElement.dataset.key;
    if (!key) return;
    const text = ["method", "target", "selector_model"].includes(key);
    state.sort = [key, state.sort[0] === key ? !state.sort[1] : !text];
    arrange();
    filter();
  });
}

// -- every run ------------------------------------------------------------------------------------

const RUN_HEADS = ["run", "seed", "mean", "seconds", "peak MB", "selection", "environment"];
function listRuns() {
  const rows = data.runs.rows.filter(([, cell]) => cell < 0 || shown(cell));
  const table = $("runs");
  table.replaceChildren(element("thead", {}, element("tr", {}, ...RUN_HEADS.map((words) => element("th", { scope: "col", textContent: words })))),
    element("tbody", {}, ...rows.map(([id, , seed, mean, time, peak, ordering, environment, status]) => element("tr", {},
      element("td", { className: "wrap" }, element("code", { textContent: id })), ...[seed, known(mean) ? mean.toFixed(1) : status, time, whole(Math.round(peak)), ordering, environment + 1]
        .map((text) => element("td", { textContent: text ?? "" }))))));
  $("environments").replaceChildren(...data.runs.environments.map((words) => element("li", {}, element("code", { textContent: words }))));
}

// -- start ----------------------------------------------------------------------------------------

const largest = Math.max(0, ...data.groups.map((group) => group.cells.length));
if (window.innerWidth < 620 && largest > 12) state.benchmark = "mean";  // eight long lists are no view for a phone
recall();
switches();
if (board) {
  const change = filters();
  listen(change);
  $("filters").hidden = false;
  if (state.sort[0] || state.oneList) arrange();
  columnsShown();
  chances();
  filter();
}
$("every-run").hidden = !data.runs.rows.length;
$("every-run").addEventListener("toggle", () => { if ($("every-run").open) listRuns(); });
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    draw(target.id.replace(/-chart$/, ""));
  }
}, { rootMargin: "400px" });
for (const name of Object.keys(CHARTS)) {
  walk(name);
  watcher.observe($(`${name}-chart`));
}
// On paper there is no scrolling: what was not looked at yet is drawn first.
addEventListener("beforeprint", () => Object.keys(CHARTS).forEach(draw));
let wide = window.innerWidth;
addEventListener("resize", () => { if (window.innerWidth !== wide) { wide = window.innerWidth; redraw(); } });
[...document.querySelectorAll("details")].forEach((one, at) => { if (state.open[at] !== undefined) one.open = state.open[at]; });
if (state.scroll) {
  // Charts take the room that they had, so that the place is there before they are drawn.
  for (const [name, height] of Object.entries(state.heights)) if ($(`${name}-chart`)) $(`${name}-chart`).style.minHeight = `${height}px`;
  history.scrollRestoration = "manual";
  requestAnimationFrame(() => scrollTo(0, state.scroll));
}
document.documentElement.dataset.ready = "true";
