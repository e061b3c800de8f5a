"use strict";
// The page's data, what the reader has chosen, and the charts' library.
// Text of records is written with textContent, and into charts through esc().
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const cells = data.cells;
const word = (name, at) => cells[name].words[cells[name].at[at]];
const every = cells.mean.map((_, at) => at);

const FRESH = () => ({
  sort: ["", true], search: "", choices: {}, noFloors: false, noTies: false, oneList: false,
  hidden: [], costs: "measured", part: "total", panel: 0, group: null, measure: "score",
  benchmark: "", open: [], scroll: 0, heights: {},
});
const state = FRESH();
const KEY = `winnow ${location.pathname}`;

function remember() {
  state.scroll = window.scrollY;
  for (const plate of document.querySelectorAll(".plate")) state.heights[plate.id.replace(/-chart$/, "")] = plate.offsetHeight;
  state.open = [...document.querySelectorAll("details")].map((one) => one.open);
  try { sessionStorage.setItem(KEY, JSON.stringify(state)); } catch { /* no storage, no memory */ }
}
function recall() {
  try {
    const old = JSON.parse(sessionStorage.getItem(KEY));
    for (const name of Object.keys(state)) {
      if (old && typeof old[name] === typeof state[name]) state[name] = old[name];
      if (old && name === "group") state.group = old.group;
    }
  } catch { /* as new */ }
  if (state.panel >= data.panels.length) state.panel = 0;
  if (!data.groups[state.group]) state.group = null;
}
addEventListener("pagehide", remember);

const seconds = Number($("refresh")?.dataset.refresh);
if (seconds) {
  const again = () => {
    // Not under the hands of somebody who reads a value, types or opens a list.
    const busy = $("pause")?.checked || document.querySelector(".hoverlayer .hovertext")
      || document.activeElement?.matches("select, input[type=search]");
    if (busy) setTimeout(again, 2000);
    else { remember(); location.reload(); }
  };
  setTimeout(again, 1000 * seconds);
}

// -- the library ----------------------------------------------------------------------------------

let loading = null;
function library() {
  // Unpacked at the first chart; the page's policy knows the hash of what comes out.
  loading ??= (async () => {
    const text = atob($("plotly").textContent), packed = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += 1) packed[at] = text.charCodeAt(at);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    if (!window.Plotly) throw new Error("the library did not start");
    return window.Plotly;
  })();
  return loading;
}

// -- words ----------------------------------------------------------------------------------------

// The library reads some HTML and, between dollar signs, TeX.
const esc = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("$", "&#36;");
const short = (text, width = 30) => {
  const one = String(text).replace(/\s+/g, " ");
  const tail = Math.floor(width / 3);
  return one.length <= width ? one : `${one.slice(0, width - tail - 1)}…${one.slice(-tail)}`;
};
const whole = (value) => Number(value).toLocaleString("en-US");
const fixed = (value, digits = 1) => value.toFixed(digits).replace("-", "−");
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);
const known = (value) => value !== null && value !== undefined;
function flops(value) {
  if (!value) return "0";
  const [mantissa, exponent] = value.toExponential(1).split("e");
  return `${mantissa}e${Number(exponent)}`;
}

// -- cells ----------------------------------------------------------------------------------------

const STAGE_WORDS = { warmup: "warm-up", score: "pool pass", queries: "query pass", order: "ordering", train: "fine-tuning", evaluate: "evaluation" };
const SELECTION = ["warmup", "score", "queries", "order"];
function cost(at, convention = state.costs, part = state.part) {
  const row = cells.costs[at][convention === "paper" ? 1 : 0];
  return data.stages.reduce((sum, stage, place) =>
    sum + (SELECTION.includes(stage) || (part === "total" && stage === "train") ? row[place] : 0), 0);
}
const chance = (at) => cells[`frontier_probability${state.costs === "paper" ? "_paper" : ""}${state.part === "select" ? "_select" : ""}`][at];
const costWords = () => `${state.costs === "paper" ? "FLOPs in the paper's convention" : "measured FLOPs"}, ${state.part === "total" ? "selection + fine-tuning" : "selection only"}`;

const CHOICES = ["pool", "pool_size", "budget", "target", "model", "selector_model", "recipe", "suite", "judge"];
const NUMBERS = ["pool_size", "budget"];
const value = (name, at) => (NUMBERS.includes(name) ? String(cells[name][at]) : word(name, at));
const texts = every.map((at) =>
  ["method", "target", "selector_model", "pool", "model", "recipe"].map((name) => word(name, at)).join(" ").toLowerCase());

function shown(at) {
  if (state.search && !state.search.toLowerCase().split(/\s+/).every((part) => texts[at].includes(part))) return false;
  if (cells.floor[at]) {  // a floor of no pool stands beside every pool
    if (state.noFloors || state.noTies) return false;
    return !["model", "suite", "judge"].some((name) => state.choices[name] && value(name, at) !== state.choices[name]);
  }
  if (state.noTies && cells.tie[at] !== 0) return false;
  return !CHOICES.some((name) => state.choices[name] && value(name, at) !== state.choices[name]);
}

// Labels: the method, with those of its choices that differ among the cells that stand together.
function labels(members) {
  const rivals = members.filter((at) => !cells.floor[at]);
  const differs = ["target", "selector_model", "pool"].filter((name) =>
    new Set(rivals.map((at) => word(name, at)).filter((w) => !["any", "none"].includes(w))).size > 1);
  return new Map(members.map((at) => [at, [word("method", at),
    ...differs.map((name) => word(name, at)).filter((w) => !["any", "none"].includes(w))].join(" · ")]));
}
function panelCells(panel) {
  const found = new Set(data.groups.filter((group) => group.panel === panel).flatMap((group) => group.cells));
  return [...found].filter((at) => known(cells.mean[at]) && shown(at));
}
// The setting of a chart that shows one: that chosen, else the largest pool, then the largest budget.
function groupOf() {
  if (state.group !== null) return data.groups[state.group];
  const full = data.groups.filter((group) => group.cells.some((at) => !cells.floor[at] && shown(at)));
  return full.reduce((best, group) =>
    !best || group.pool_size > best.pool_size || (group.pool_size === best.pool_size && group.budget > best.budget)
      ? group : best, null) ?? data.groups[0] ?? null;
}
const groupCells = (group) => (group ? group.cells.filter(shown) : []);

const colour = (at) => (cells.floor[at] ? "#767676" : data.colours[word("method", at)] ?? "#767676");

// What a point says when it is pointed at or reached by keys, as lines of plain text.
function saying(at, label) {
  const lines = [label];
  lines.push([cells.pool_size[at] ? `pool ${short(word("pool", at), 24)} of ${whole(cells.pool_size[at])}` : "",
    cells.budget[at] ? `budget ${whole(cells.budget[at])}` : "",
    `${cells.n_seeds[at]} seed${cells.n_seeds[at] === 1 ? "" : "s"}`].filter(Boolean).join(", "));
  if (known(cells.mean[at])) {
    lines.push(`mean ${fixed(cells.mean[at])} %` + (known(cells.mean_low[at])
      ? `, 95 % interval ${fixed(cells.mean_low[at])} to ${fixed(cells.mean_high[at])}` : ""));
  }
  if (known(cells.difference[at])) {
    lines.push(`against ${word("reference", at)}: ${signed(cells.difference[at])}` + (known(cells.difference_low[at])
      ? ` (${signed(cells.difference_low[at])} to ${signed(cells.difference_high[at])}${cells.tie[at] ? "; not told apart" : ""})` : ""));
  }
  if (known(cells.rank[at])) {
    lines.push(`rank ${cells.rank[at]}` + (known(cells.rank_low[at]) ? ` (${cells.rank_low[at]} to ${cells.rank_high[at]})` : "") + (cells.tied_with_best[at] && cells.rank[at] !== 1 ? ", not told from the best" : ""));
  }
  if (known(chance(at))) lines.push(`on the frontier in ${Math.round(100 * chance(at))} % of draws`);
  lines.push(...costLines(at));
  return lines;
}
function costLines(at) {
  const row = cells.costs[at][state.costs === "paper" ? 1 : 0];
  const parts = data.stages.map((stage, place) => [stage, row[place]])
    .filter(([stage, flop]) => flop && stage !== "evaluate").map(([stage, flop]) => `${STAGE_WORDS[stage]} ${flops(flop)}`);
  return parts.length ? [`${flops(cost(at))} ${state.costs === "paper" ? "FLOPs (paper's)" : "FLOPs"}${state.part === "select" ? " to select" : ""}`, parts.join(", ")] : [];
}
