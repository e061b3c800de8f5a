// The charts: each makes traces and a layout from the cells that the filters leave.
const INK = "#1c1c1e", FAINT = "#e4e6e9", FLOOR = "#767676";
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "cross", "x", "star", "hexagon"];
const STAGE_COLOURS = { warmup: "#CC79A7", score: "#0072B2", queries: "#56B4E9", order: "#117733", train: "#E69F00", evaluate: "#999999" };
const STAGE_SHAPES = { warmup: "x", score: "", queries: "/", order: "-", train: ".", evaluate: "" };
const GLYPHS = ["●", "■", "◆", "▲", "▼", "⬟", "✚", "✖", "★", "⬢"];
const SOURCE_SHAPES = ["", "", "", "", "", "", "", "/", "/", "/", "x", "x", "x", ".", ""];
const touch = matchMedia("(pointer: coarse)").matches;

const hover = (lines) => [`<b>${esc(short(lines[0], 60))}</b>`, ...lines.slice(1).map(esc)].join("<br>");
function base(width, height, more = {}) {
  return {
    width, height, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest", dragmode: touch ? false : "zoom",
    font: { family: "system-ui, sans-serif", size: width < 560 ? 11 : 12.5, color: INK },
    hoverlabel: { align: "left", bgcolor: "#fff", bordercolor: "#8a8f95", font: { color: INK, size: width < 560 ? 11 : 12 } },
    margin: { l: 52, r: 16, t: 28, b: 48 }, showlegend: false,
    ...more,
  };
}
const axis = (more = {}) => ({ gridcolor: FAINT, zeroline: false, linecolor: "#9aa0a6", ticks: "outside", tickcolor: "#9aa0a6", ticklen: 4, automargin: true, fixedrange: touch, ...more });
const title = (text) => ({ text, font: { size: 12 }, standoff: 6 });

// n small plots in rows: their axes, and where each one's title stands.
function grid(n, columns, { left = 0, gap = 0.06, rowGap = 0.1 } = {}) {
  const rows = Math.ceil(n / columns), layout = { annotations: [] }, wide = (1 - left - gap * (columns - 1)) / columns;
  const high = (1 - rowGap * (rows - 1)) / rows;
  return { layout, add(at, words, x, y) {
    const id = at ? String(at + 1) : "", column = at % columns, row = Math.floor(at / columns);
    const from = left + column * (wide + gap), top = 1 - row * (high + rowGap);
    layout[`xaxis${id}`] = axis({ domain: [from, from + wide], anchor: `y${id}`, ...x });
    layout[`yaxis${id}`] = axis({ domain: [Math.max(top - high, 0), top], anchor: `x${id}`, ...y });
    layout.annotations.push({ text: `<b>${esc(words)}</b>`, xref: "paper", yref: "paper", x: from, y: top, xanchor: "left",
      yanchor: "bottom", yshift: 3, showarrow: false, font: { size: 12 } });
    return { xaxis: `x${id}`, yaxis: `y${id}` };
  } };
}
const interval = (at) => (known(cells.mean_low[at]) ? [cells.mean[at] - cells.mean_low[at], cells.mean_high[at] - cells.mean[at]] : [0, 0]);
const bars = (members, paint) => ({
  type: "data", symmetric: false, array: members.map((at) => (at === null ? 0 : interval(at)[1])),
  arrayminus: members.map((at) => (at === null ? 0 : interval(at)[0])), color: paint, thickness: 1.2, width: 0,
});
function groupBy(items, key) {
  const found = new Map();
  for (const item of items) { const name = key(item); if (!found.has(name)) found.set(name, []); found.get(name).push(item); }
  return found;
}
const byLabel = (members) => { const names = labels(members); return groupBy(members, (at) => names.get(at)); };

// -- score against compute ------------------------------------------------------------------------

function frontier(members, best = -Infinity) {  // of those that score more than what is free
  const kept = [];
  for (const at of [...members].sort((a, b) => cost(a) - cost(b) || cells.mean[b] - cells.mean[a])) {
    if (cells.mean[at] > best) { best = cells.mean[at]; kept.push(at); }
  }
  return kept;
}
function pareto(width) {
  const members = panelCells(state.panel);
  const free = members.filter((at) => !cells.floor[at] && !(cost(at) > 0));  // or of unknown cost
  const rivals = members.filter((at) => !cells.floor[at] && cost(at) > 0);
  if (!rivals.length) return { empty: free.length ? "Nothing here costs any FLOPs: choose total costs." : "No finished run with a score and a cost." };
  const names = labels(members), budgets = [...new Set(rivals.map((at) => cells.budget[at]))].sort((a, b) => a - b);
  const sizes = [...new Set(rivals.map((at) => cells.pool_size[at]))].sort((a, b) => a - b);
  const size = (at) => 8 + Math.min(3, 8 / Math.max(sizes.length - 1, 1)) * sizes.indexOf(cells.pool_size[at]);
  const costs = rivals.map((at) => cost(at)), low = Math.min(...costs), high = Math.max(...costs);
  const room = Math.max(0.1 * Math.log10(high / low), 0.15), range = [Math.log10(low) - room, Math.log10(high) + room];
  const traces = [], best = Math.max(-Infinity, ...free.filter((at) => cost(at, state.costs, "total") > 0).map((at) => cells.mean[at])), edge = frontier(rivals, best), heights = members.map((at) => cells.mean[at]);
  const steps = [...(best > -Infinity ? [[10 ** range[0], best]] : []), ...edge.map((at) => [cost(at), cells.mean[at]])];
  traces.push({ x: [...steps.map(([x]) => x), 10 ** range[1]], y: [...steps, steps.at(-1)].map(([, y]) => y), mode: "lines",
    line: { shape: "hv", width: 7, color: "rgba(150,150,150,.4)" }, hoverinfo: "skip", name: "frontier", legendgroup: " frontier" });
  const series = [...groupBy(rivals, (at) => names.get(at))].sort(), many = rivals.length > 120, first = new Set(edge);
  const lastOf = (line) => line.reduce((a, b) => (cost(b) >= cost(a) ? b : a));
  const ups = rivals.map((at) => cells.mean[at] + interval(at)[1]), downs = rivals.map((at) => cells.mean[at] - interval(at)[0]);
  const low2 = Math.min(...downs, ...heights), high2 = Math.max(...ups, ...heights), tall = width < 560 ? 344 : 464;
  const pixel = (at) => [((Math.log10(cost(at)) - range[0]) / (range[1] - range[0])) * (width - 68), tall * (1 - (cells.mean[at] - low2) / (high2 - low2 || 1))];
  const named = many ? new Map() : placed(series.map(([name, line]) => [lastOf(line), short(name, 24)]), rivals, pixel);
  for (const [name, line] of series) {
    const order = [], paint = colour(line[0]);
    for (const [, same] of groupBy(line.sort((a, b) => cells.budget[a] - cells.budget[b] || cells.pool_size[a] - cells.pool_size[b]), (at) => cells.budget[at])) order.push(...same, null);
    order.pop();
    const says = order.map((at) => (at === null ? null : saying(at, name)));
    const last = lastOf(line);
    const place = named.get(last);
    traces.push({ x: order.map((at) => (at === null ? null : cost(at))), y: order.map((at) => (at === null ? null : cells.mean[at])),
      mode: many ? "markers" : series.length <= 14 && width >= 700 ? "lines+markers+text" : "lines+markers", line: { width: 1.4, color: paint },
      text: order.map((at) => (at === last ? esc(short(name, 24)) : "")), textposition: place ?? "top center", textfont: { color: paint, size: 11 }, cliponaxis: false,
      marker: { color: paint, size: order.map((at) => (at === null ? 0 : size(at))), line: { width: 1.4, color: paint }, opacity: 1,
        symbol: order.map((at) => (at === null ? "circle" : SYMBOLS[budgets.indexOf(cells.budget[at]) % SYMBOLS.length] + (cells.tie[at] ? "-open" : ""))) },
      error_y: bars(many ? order.map((at) => (first.has(at) ? at : null)) : order, paint), name: esc(short(name)), legendgroup: name, hoverinfo: "text", hovertext: says.map((one) => (one ? hover(one) : "")), customdata: says });
  }
  traces.push(...floorLines(members.filter((at) => cells.floor[at]), names, [10 ** (range[0] + 1e-6), 10 ** range[1]], Math.max(...heights) - Math.min(...heights)));
  const key = [...series.map(([name, line]) => ({ key: name, words: name, colour: colour(line[0]), sign: "●" })), { key: " frontier", words: "Pareto frontier", colour: "rgba(150,150,150,.6)", sign: "▬" },
    ...(budgets.length > 1 ? budgets.map((budget, at) => ({ words: `budget ${whole(budget)}`, colour: "#606060", sign: GLYPHS[at % GLYPHS.length] })) : [])];
  return { traces, key, note: [free.length ? `${free.length} without cost are left out${best > -Infinity ? `; the frontier begins with the best of them, ${fixed(best)} %` : ""}.` : "", many ? "Of so many points the lines are left out, and the bars but on the frontier: filter, or point at one." : "", `Hollow: not told from ${data.reference}.`].filter(Boolean).join(" "),
    layout: base(width, width < 560 ? 420 : 540, {
      xaxis: axis({ type: "log", range, title: title(costWords()), ...powers(range) }),
      yaxis: axis({ title: title("mean score, %"), rangemode: "normal" }) }) };
}
// Where each point's name stands so that it covers no point and no other name, as far as there is room.
function placed(wanted, points, pixel) {
  const boxes = points.map((at) => { const [x, y] = pixel(at); return [x - 6, y - 6, x + 6, y + 6]; }), found = new Map();
  const sides = { "top center": [-0.5, -1.15], "bottom center": [-0.5, 0.15], "middle right": [0, -0.5], "middle left": [-1, -0.5],
    "top right": [0, -1.1], "top left": [-1, -1.1], "bottom right": [0, 0.1], "bottom left": [-1, 0.1] };
  for (const [at, words] of wanted) {
    const [x, y] = pixel(at), wide = 6.3 * words.length, high = 15;
    let best = null, least = Infinity;
    for (const [side, [right, down]] of Object.entries(sides)) {
      const left = x + right * wide + (side.endsWith("right") ? 8 : side.endsWith("left") ? -8 : 0), top = y + down * high + (down < -1 ? -5 : down > 0 ? 5 : 0);
      const box = [left, top, left + wide, top + high];
      const covered = boxes.filter((one) => one[0] < box[2] && box[0] < one[2] && one[1] < box[3] && box[1] < one[3]).length;
      if (covered < least) { least = covered; best = [side, box]; }
    }
    found.set(at, best[0]);
    boxes.push(best[1]);
  }
  return found;
}
// 1, 2 and 5 of each power of ten, fewer where there are many.
function powers(range) {
  const steps = range[1] - range[0] < 1.3 ? [1, 2, 5] : range[1] - range[0] < 2.6 ? [1, 3] : [1], vals = [];
  for (let power = Math.floor(range[0]); power <= range[1]; power += 1) for (const step of steps) vals.push([step, power]);
  const up = (power) => String(power).replace(/./g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
  return { tickvals: vals.map(([step, power]) => step * 10 ** power), ticktext: vals.map(([step, power]) => (step > 1 ? `${step}×10${up(power)}` : `10${up(power)}`)) };
}
// Dashed lines of floors and ceilings, one for each name and pool size at its largest budget.
// `place` is where on the line its name stands; of two lines close together the lower has it below.
function floorLines(members, names, ends, span, place = 0) {
  const lines = [...groupBy(members, (at) => names.get(at))].flatMap(([name, same], number) => {
    const sizes = groupBy(same, (at) => cells.pool_size[at]);
    return [...sizes].map(([size, some]) => ({ name, number, at: some.reduce((a, b) => (cells.budget[b] >= cells.budget[a] ? b : a)), more: sizes.size > 1 ? ` ${whole(size)}` : "" }));
  }).sort((a, b) => cells.mean[b.at] - cells.mean[a.at]);
  return lines.map(({ name, number, at, more }, rank) => {
    const says = saying(at, `${name} (floor or ceiling)`), words = esc(`${short(name, 22)}${more} ${fixed(cells.mean[at])}`);
    const crowded = rank > 0 && cells.mean[lines[rank - 1].at] - cells.mean[at] < 0.06 * span;
    return { x: [ends[0], Math.sqrt(ends[0] * ends[1]), ends[1]], y: Array(3).fill(cells.mean[at]), mode: "lines+text", text: [0, 1, 2].map((one) => (one === place ? words : "")),
      textposition: `${crowded ? "bottom" : "top"} ${place ? "center" : "right"}`, textfont: { color: "#5b6066", size: 10.5 }, line: { color: FLOOR, width: 1.2, dash: ["dash", "dot", "dashdot", "longdash"][number % 4] },
      showlegend: false, name: esc(short(name)), hoverinfo: "text", hovertext: Array(3).fill(hover(says)), customdata: [says, null, null] };
  });
}

// -- score against budget -------------------------------------------------------------------------

function budgets(width) {
  const members = panelCells(state.panel), names = labels(members), rivals = members.filter((at) => !cells.floor[at]);
  if (!rivals.length) return { empty: "No finished run with a score." };
  const sizes = [...new Set(rivals.map((at) => cells.pool_size[at]))].sort((a, b) => a - b);
  const columns = Math.min(sizes.length, width < 620 ? 1 : width < 1000 ? 2 : 3), rows = Math.ceil(sizes.length / columns);
  const height = (rows === 1 ? 360 : 300) * rows, traces = [], seen = new Map();
  const made = grid(sizes.length, columns, { rowGap: rows > 1 ? 70 / height : 0, gap: 0.05 });
  const tops = members.flatMap((at) => [cells.mean[at] + interval(at)[1], cells.mean[at] - interval(at)[0]]);
  const span = [Math.min(...tops), Math.max(...tops)], room = Math.max(0.06 * (span[1] - span[0]), 1);
  sizes.forEach((size, at) => {
    const here = rivals.filter((one) => cells.pool_size[one] === size), ticks = [...new Set(here.map((one) => cells.budget[one]))].sort((a, b) => a - b);
    const ends = [ticks[0] / 1.35, ticks.at(-1) * 1.35];
    const axes = made.add(at, size ? `pool of ${whole(size)} rows` : "", { type: "log", tickvals: ticks, ticktext: ticks.map(whole), range: ends.map(Math.log10), title: title("budget, rows") },
      { range: [span[0] - room, span[1] + room], title: at % columns ? undefined : title("mean score, %") });
    // Points of one budget stand a little apart, so that no bar covers another; a lone budget has the plot's width.
    const steps = ticks.slice(1).map((tick, step) => Math.log(tick / ticks[step]));
    const apart = steps.length ? Math.min(...steps) / 6 : 1.5 * Math.log(1.35), drawn = new Map();
    const lines = [...groupBy(here, (one) => names.get(one))].sort();
    lines.forEach(([name, line], rank) => {
      line.sort((a, b) => cells.budget[a] - cells.budget[b]);
      const paint = colour(line[0]), says = line.map((one) => saying(one, name)), xs = line.map((one) => cells.budget[one]);
      const shift = Math.exp(apart * (rank - (lines.length - 1) / 2) / Math.max(lines.length - 1, 1)), method = word("method", line[0]);
      const mark = SYMBOLS[(drawn.get(method) ?? 0) % SYMBOLS.length];
      drawn.set(method, (drawn.get(method) ?? 0) + 1);
      const random = word("method", line[0]) === data.reference && line.every((one) => known(cells.mean_low[one]));
      if (random) {
        const wide = xs.length > 1 ? xs : ends, lower = line.map((one) => cells.mean_low[one]), upper = line.map((one) => cells.mean_high[one]);
        const double = (list) => (xs.length > 1 ? list : [list[0], list[0]]);
        traces.push({ ...axes, x: [...wide, ...[...wide].reverse()], y: [...double(upper), ...double(lower).reverse()], fill: "toself", mode: "lines", line: { width: 0 },
          fillcolor: "rgba(90,90,90,.18)", hoverinfo: "skip", name: "band", legendgroup: " band" });
        seen.set(" band", { key: " band", words: `${name}: 95 % interval`, colour: "rgba(90,90,90,.35)", sign: "▬" });
      }
      traces.push({ ...axes, x: xs.map((x) => x * shift), y: line.map((one) => cells.mean[one]), mode: "lines+markers", line: { color: paint, width: 1.7 },
        marker: { size: 8, color: paint, line: { color: paint, width: 1.4 }, symbol: line.map((one) => mark + (cells.tie[one] ? "-open" : "")) },
        error_y: random ? undefined : bars(line, paint), name: esc(short(name)), legendgroup: name, hoverinfo: "text", hovertext: says.map(hover), customdata: says });
      seen.set(name, { key: name, words: name, colour: paint, sign: GLYPHS[SYMBOLS.indexOf(mark)] });
    });
    const floors = members.filter((one) => cells.floor[one] && [size, 0].includes(cells.pool_size[one]));
    traces.push(...floorLines(floors, names, ends, span[1] - span[0], 1).map((line) => ({ ...line, ...axes })));
  });
  return { traces, key: [...seen.values()], note: `Hollow: not told from ${data.reference}.`, layout: base(width, height + 70, made.layout) };
}

// -- what was selected ----------------------------------------------------------------------------

const wrapName = (name, width) => esc(short(name, width < 560 ? 16 : 30));
function stacked(width, rows, names, unit, says, colours, shapes, more) {
  // rows: [label, numbers by name]; the first on top.
  const at = rows.map((_, place) => -place), narrow = width < 560;
  const traces = names.map((name, place) => ({ type: "bar", orientation: "h", y: at, x: rows.map((row) => row[1][place]), name: esc(short(name, narrow ? 16 : 22)),
    marker: { color: colours[place], line: { color: "#fff", width: 0.8 }, pattern: { shape: shapes[place], fillmode: "overlay", fgcolor: "#fff", fgopacity: 0.75, size: 6, solidity: 0.25 } },
    hoverinfo: "text", hovertext: rows.map((row) => hover(says(row, place))), customdata: rows.map((row) => (row[1][place] ? says(row, place) : null)) }))
    .map((trace, place) => ({ ...trace, legendgroup: names[place] })).filter((trace) => trace.x.some((number) => number));
  const key = names.map((name, place) => ({ key: name, words: name, colour: colours[place], shape: shapes[place] })).filter((one) => traces.some((trace) => trace.legendgroup === one.key));
  return { traces, key, layout: base(width, 74 + 27 * rows.length, { barmode: "stack", bargap: 0.22,
    xaxis: axis({ title: title(unit), ...more }), yaxis: axis({ tickvals: at, ticktext: rows.map((row) => wrapName(row[0], width)), range: [-rows.length + 0.4, 0.6], ticks: "", gridcolor: "#fff", fixedrange: true }),
    margin: { l: 20, r: narrow ? 10 : 16, t: 14, b: 46 } }) };
}
function sources(width) {
  const group = groupOf(), members = groupCells(group).filter((at) => data.sources.cells[at].length);
  if (!members.length) return { empty: "No finished run here says which sources it selected." };
  const names = labels(members), share = (row) => { const total = row.reduce((a, b) => a + b, 0) || 1; return row.map((count) => (100 * count) / total); };
  const pool = data.sources.pools.find((one) => one.pool === group.pool && one.pool_size === group.pool_size);
  const rows = members.map((at) => [names.get(at), share(data.sources.cells[at])]);
  if (pool) rows.unshift(["(the pool itself)", share(pool.rows)]);
  const last = data.sources.names.length - 1, other = last === 14;
  const says = (row, place) => [row[0], `${data.sources.names[place]}: ${fixed(row[1][place])} % of the rows`, ...(pool && row !== rows[0] ? [`in the pool: ${fixed(rows[0][1][place])} %`] : [])];
  return stacked(width, rows, data.sources.names, "share of rows, %", says, data.sources.colours, SOURCE_SHAPES.map((shape, at) => (other && at === last ? "" : shape)), { range: [0, 100] });
}
function scores(width) {
  const group = groupOf(), members = groupCells(group).filter((at) => cells.budget[at]);
  const names = labels(members), all = members.filter((at) => Array.isArray(data.scores.cells[at])), drawn = all.slice(0, width < 560 ? 12 : 40);
  const without = members.filter((at) => data.scores.cells[at] === ""), gone = members.filter((at) => data.scores.cells[at] === null);
  const note = [without.length ? `No scores, by their nature: ${without.map((at) => names.get(at)).join(", ")}.` : "",
    gone.length ? `Files missing (runs/…/selection.parquet): ${gone.map((at) => names.get(at)).join(", ")}.` : "",
    all.length > drawn.length ? `The first ${drawn.length} of ${all.length}: filter for others.` : "", data.scores.all_seeds ? "" : "On so large a board only the first seed of each cell is read."].filter(Boolean).join(" ");
  if (!drawn.length) return { note, empty: data.scores.files ? "No method here gives scores to rows." : "The scores lie in runs/…/selection.parquet beside the records; these records came without them." };
  const columns = Math.max(1, Math.min(drawn.length, Math.floor(width / 260))), rows = Math.ceil(drawn.length / columns), height = 190 * rows + 40;
  const made = grid(drawn.length, columns, { rowGap: rows > 1 ? 62 / height : 0, gap: 0.07 });
  const traces = drawn.map((at, place) => {
    const [low, high, counts] = data.scores.cells[at], step = (high - low) / counts.length;
    const axes = made.add(place, short(names.get(at), Math.floor(width / columns / 8)), { nticks: 4 }, { nticks: 4, title: place % columns ? undefined : title("rows") });
    const says = counts.map((count, bin) => [names.get(at), `score ${(low + bin * step).toPrecision(4)} to ${(low + (bin + 1) * step).toPrecision(4)}`, `${whole(count)} row${count === 1 ? "" : "s"}`]);
    return { ...axes, type: "bar", x: counts.map((_, bin) => low + (bin + 0.5) * step), y: counts, width: step, marker: { color: colour(at), line: { color: "#fff", width: 0.5 } },
      hoverinfo: "text", hovertext: says.map(hover), customdata: says, showlegend: false, name: esc(names.get(at)) };
  });
  return { traces, note, layout: base(width, height, { ...made.layout, margin: { l: 48, r: 12, t: 30, b: 34 } }) };
}

// -- each benchmark -------------------------------------------------------------------------------

function benchmarks(width) {
  const group = groupOf(), difference = state.measure === "difference", members = groupCells(group).filter((at) => known(cells.mean[at]) && (!difference || known(cells.difference[at])));
  if (!members.length) return { empty: difference ? `No run here can be held against ${data.reference}.` : "No finished run with a score." };
  const names = labels(members), shownNames = data.benchmarks.filter((name) => !state.benchmark || name === state.benchmark), list = state.benchmark === "mean" ? ["mean"] : [...shownNames, ...(state.benchmark ? [] : ["mean"])];
  const narrow = width < 620, columns = Math.min(list.length, narrow ? 1 : width < 1000 ? 3 : 4), rows = Math.ceil(list.length / columns);
  const order = [...members].sort((a, b) => cells.mean[a] - cells.mean[b]), each = 17 * Math.max(order.length, 3) + 26, height = rows * each + (rows - 1) * 62 + 70;
  const wide = Math.min(0.28, (7 * Math.max(...order.map((at) => Math.min(short(names.get(at), narrow ? 18 : 26).length, 26)))) / width);
  const made = grid(list.length, columns, { left: narrow ? 0 : wide, gap: narrow ? 0 : 0.03, rowGap: rows > 1 ? 62 / (height - 64) : 0 });
  const traces = [], shapes = [];
  list.forEach((name, place) => {
    const of = cells[`b:${name}`], first = place % columns === 0;
    const axes = made.add(place, short(name, 20), { nticks: narrow ? 6 : 4, zeroline: difference, zerolinecolor: "#555", zerolinewidth: 1 },
      { tickvals: order.map((_, at) => at), ticktext: order.map((at) => (first ? wrapName(names.get(at), narrow ? 500 : 900) : "")), range: [-0.7, order.length - 0.3], ticks: "", automargin: narrow, fixedrange: true });
    const point = (at) => {
      if (name === "mean") return difference ? [cells.difference[at], cells.difference_low[at], cells.difference_high[at], cells.tie[at]] : [cells.mean[at], cells.mean_low[at], cells.mean_high[at], cells.tie[at]];
      if (difference) return [of.difference[at], of.difference_low[at], of.difference_high[at], of.tie[at]];
      const error = known(of.stderr[at]) ? 1.96 * of.stderr[at] : null;
      return [of.score[at], known(error) ? of.score[at] - error : null, known(error) ? of.score[at] + error : null, of.tie[at]];
    };
    const drawn = order.map((at, y) => [at, y, ...point(at)]).filter(([, , score]) => known(score));
    const says = drawn.map(([at, , score, low, high, tie]) => [names.get(at), `${name}: ${difference ? signed(score) + ` against ${word("reference", at)}` : `${fixed(score)} %`}`,
      ...(known(low) ? [`95 % interval ${difference ? signed(low) : fixed(low)} to ${difference ? signed(high) : fixed(high)}${name !== "mean" && !difference ? " (test items)" : ""}`] : []), ...(tie ? [`not told from ${data.reference}`] : [])]);
    const paint = drawn.map(([at]) => colour(at));
    traces.push(...drawn.filter(([, , , low]) => known(low)).map(([at, y, , low, high]) => ({ ...axes, x: [low, high], y: [y, y], mode: "lines", line: { color: colour(at), width: 1.4 }, hoverinfo: "skip", showlegend: false })));
    traces.push({ ...axes, x: drawn.map((one) => one[2]), y: drawn.map((one) => one[1]), mode: "markers", showlegend: false, name,
      marker: { size: 8, color: paint, line: { color: paint, width: 1.4 }, symbol: drawn.map(([at, , , , , tie]) => (cells.floor[at] ? "diamond" : "circle") + (tie ? "-open" : "")) },
      hoverinfo: "text", hovertext: says.map(hover), customdata: says });
  });
  return { traces, layout: base(width, height, { ...made.layout, shapes, margin: { l: narrow ? 20 : 10, r: 12, t: 30, b: 34 } }) };
}

// -- what it cost ---------------------------------------------------------------------------------

function costs(width) {
  const group = groupOf(), members = groupCells(group).filter((at) => !cells.floor[at] || cost(at));
  if (!members.length) return { empty: "No finished run here." };
  const names = labels(members), stages = data.stages.filter((stage) => SELECTION.includes(stage) || (state.part === "total" && stage === "train"));
  const order = [...members].sort((a, b) => cost(a) - cost(b));
  const numbers = (at) => stages.map((stage) => cells.costs[at][state.costs === "paper" ? 1 : 0][data.stages.indexOf(stage)]);
  const rows = order.map((at) => [names.get(at), numbers(at), at]);
  if (!rows.some((row) => row[1].some(Boolean))) return { empty: "Nothing here costs any FLOPs." };
  const says = (row, place) => { const seconds = cells.costs[row[2]][2][data.stages.indexOf(stages[place])];
    return [row[0], `${STAGE_WORDS[stages[place]]}: ${flops(row[1][place])} FLOPs`, `of ${flops(cost(row[2]))}`, ...(seconds ? [`${fixed(seconds)} s`] : [])]; };
  return stacked(width, rows, stages.map((stage) => STAGE_WORDS[stage]), costWords(), says, stages.map((stage) => STAGE_COLOURS[stage]), stages.map((stage) => STAGE_SHAPES[stage]),
    { exponentformat: "power", rangemode: "tozero", nticks: 6 });
}

// -- drawing --------------------------------------------------------------------------------------

const CHARTS = { pareto, budgets, sources, scores, benchmarks, costs };
const USES = { pareto: ["panel", "costs", "part"], budgets: ["panel"], sources: ["group"], scores: ["group"], benchmarks: ["group", "benchmark", "measure"], costs: ["group", "costs", "part"] };
const CONFIG = { displaylogo: false, responsive: false, displayModeBar: touch ? false : "hover", doubleClick: "reset",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: { format: "svg" } };
const asked = new Map();  // name → how often it was to be drawn; only the latest is
function ask(name) {
  asked.set(name, (asked.get(name) ?? 0) + 1);
  $(`${name}-chart`).ariaBusy = "true";
  return asked.get(name);
}
async function draw(name) {
  const turn = ask(name), plate = $(`${name}-chart`);
  let made;
  try {
    made = CHARTS[name](plate.clientWidth);
    if (!made.empty) await library();
  } catch (error) {
    made = { empty: `No chart: this browser cannot draw it (${error.message}). The picture is plots/${name}.png.` };
  }
  if (turn !== asked.get(name)) return;
  if (made.empty) {
    if (plate.data) window.Plotly.purge(plate);
    const words = document.createElement("p");
    words.className = "empty";
    words.textContent = made.empty;
    plate.replaceChildren(words);
  } else {
    if (!plate.data) plate.replaceChildren();
    const off = gone.get(name) ?? new Set();
    for (const trace of made.traces) if (off.has(trace.legendgroup)) trace.visible = false;
    await window.Plotly.react(plate, made.traces, made.layout, { ...CONFIG, toImageButtonOptions: { format: "svg", filename: `winnow_${name}` } });
  }
  $(`${name}-key`).replaceChildren(...(made.key ?? []).slice(0, 60).map((one) => entry(name, one)));
  $(`${name}-note`).textContent = made.note ?? "";
  plate.style.minHeight = "";
  if (turn === asked.get(name)) plate.ariaBusy = "false";
}
// The key below a chart: buttons that hide and show what they name, with shift all but that.
const gone = new Map();  // chart → what is hidden
function entry(name, { key, words, colour: paint, sign, shape }) {
  const swatch = document.createElement("span"), made = document.createElement(key === undefined ? "span" : "button"), off = gone.get(name) ?? new Set();
  swatch.className = "swatch";
  swatch.ariaHidden = "true";
  if (sign) { swatch.textContent = sign; swatch.style.color = paint; } else { swatch.style.background = PATTERNS[shape ?? ""](paint); swatch.classList.add("box"); }
  made.append(swatch, short(words, 34));
  if (key === undefined) return made;
  made.type = "button";
  made.setAttribute("aria-pressed", String(!off.has(key)));
  made.title = "hide or show; with shift: only this";
  made.addEventListener("click", async (event) => {
    const all = [...made.parentElement.querySelectorAll("button")].map((one) => one.dataset.key);
    if (event.shiftKey) { const alone = all.every((one) => (one === key) !== off.has(one)); off.clear(); if (!alone) for (const one of all) if (one !== key) off.add(one); }
    else if (!off.delete(key)) off.add(key);
    gone.set(name, off);
    await draw(name);
    [...$(`${name}-key`).querySelectorAll("button")].find((one) => one.dataset.key === key)?.focus();
  });
  made.dataset.key = key;
  return made;
}
const stripes = (angle, paint) => `repeating-linear-gradient(${angle}, #fff 0 1px, ${paint} 1px 4px)`;
const PATTERNS = { "": (paint) => paint, "/": (paint) => stripes("-45deg", paint), "-": (paint) => stripes("0deg", paint), x: (paint) => `linear-gradient(45deg, transparent 46%, #fff 46% 54%, transparent 54%), linear-gradient(-45deg, transparent 46%, #fff 46% 54%, transparent 54%), ${paint}`,
  ".": (paint) => `radial-gradient(#fff 18%, transparent 20%) 0 0 / 5px 5px, ${paint}` };
let waiting = 0;
function redraw() {
  clearTimeout(waiting);
  for (const name of asked.keys()) ask(name);
  waiting = setTimeout(() => { for (const name of asked.keys()) draw(name); }, 60);
}

// Arrow keys go through the points of a chart from left to right, plot by plot.
function walk(name) {
  const plate = $(`${name}-chart`);
  let place = -1;
  plate.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") { window.Plotly?.Fx.unhover(plate); $(`${name}-said`).textContent = ""; return; }
    if ((!step && !["Home", "End"].includes(event.key)) || !plate.data) return;
    event.preventDefault();
    const points = plate.data.flatMap((trace, curve) => (trace.visible === false ? [] : trace.customdata ?? []).map((lines, point) => ({ lines, curve, point, trace })))
      .filter((one) => one.lines).sort((a, b) => subplot(a.trace).localeCompare(subplot(b.trace), "en", { numeric: true }) || along(a) - along(b));
    if (!points.length) return;
    place = event.key === "Home" ? 0 : event.key === "End" ? points.length - 1 : place < 0 ? (step > 0 ? 0 : points.length - 1) : (place + step + points.length) % points.length;
    const one = points[Math.min(place, points.length - 1)];
    window.Plotly.Fx.hover(plate, [{ curveNumber: one.curve, pointNumber: one.point }], subplot(one.trace));
    $(`${name}-said`).textContent = one.lines.join(". ");
  });
}
const subplot = (trace) => (trace.xaxis ?? "x") + (trace.yaxis ?? "y");
const along = ({ trace, point }) => (trace.orientation === "h" ? -trace.y[point] : trace.x[point]);
