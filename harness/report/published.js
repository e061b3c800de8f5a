// The paper's figures with our points: hollow theirs, filled ours; the embedded scale's axes apart.
function published(width) {
  const points = data.published ?? [];
  if (!points.length) return { empty: "None of the paper's figures has a run of ours." };
  const plots = [];
  for (const [, same] of groupBy(points, (one) => `${one.figure}\n${one.axis}`)) {
    const apart = same.some((one) => one.micro), ours = same.filter((one) => one.micro && one.side === "ours");
    plots.push([same[0], apart ? "the paper's" : "", same.filter((one) => !ours.includes(one))]);
    if (apart) plots.push([same[0], "ours, embedded scale", ours]);
  }
  const columns = width < 620 ? 1 : 2, rows = Math.ceil(plots.length / columns), height = 380 * rows;
  const made = grid(plots.length, columns, { rowGap: rows > 1 ? 90 / height : 0, gap: 0.09 }), traces = [];
  const words = { flops: "FLOPs, paper's convention", rows: "rows selected" };
  plots.forEach(([first, whose, here], at) => {
    const xs = here.map((one) => Math.log10(one.x)), low = Math.min(...xs), high = Math.max(...xs), room = Math.max(0.14 * (high - low), 0.2);
    const range = [low - room, high + room], head = first.figure.replace(/ \(.*/, "");
    const axes = made.add(at, [short(head, 44), whose].filter(Boolean).join(": "), { type: "log", range, title: title(words[first.axis]), ...powers(range) }, { title: title("mean score, %") });
    const lines = [...groupBy(here, (one) => `${one.line}\n${one.side}\n${one.setting}`).values()];
    const named = (line) => line[Math.max(0, line.length - (line.length > 2 ? 2 : 1))];
    for (const line of lines) line.sort((a, b) => a.x - b.x);
    lines.sort((a, b) => named(b).score - named(a).score);  // names stand in turn above and below
    for (const [rank, line] of lines.entries()) {
      const inward = Math.log10(named(line).x) > (range[0] + range[1]) / 2 ? "left" : "right";
      const { line: name, side, setting, colour: paint } = line[0], ours = side === "ours";
      const ends = (one) => (known(one.low) ? [one.high - one.score, one.score - one.low] : [0, 0]);
      const says = line.map((one) => [`${name}, ${ours ? "ours" : "paper"}`, `${fixed(one.score)} %${known(one.low) ? ` (${fixed(one.low)} to ${fixed(one.high)})` : ""}`,
        one.axis === "rows" ? `${whole(one.x)} rows` : `${flops(one.x)} FLOPs`, short(setting, 90)]);
      traces.push({ x: line.map((one) => one.x), y: line.map((one) => one.score), mode: "lines+markers+text", ...axes, showlegend: false, cliponaxis: false,
        text: line.map((one) => (one === named(line) ? esc(short(name, 24)) : "")), textposition: `${rank % 2 ? "bottom" : "top"} ${inward}`, textfont: { color: paint, size: 10.5 },
        line: { color: paint, width: 1.3, dash: ours ? "solid" : "dash" }, marker: { color: paint, size: 9, symbol: ours ? "circle" : "circle-open", line: { width: 1.6, color: paint } },
        error_y: { type: "data", symmetric: false, array: line.map((one) => ends(one)[0]), arrayminus: line.map((one) => ends(one)[1]), color: paint, thickness: 1.2, width: 0, visible: ours },
        name: esc(short(name)), hoverinfo: "text", hovertext: says.map(hover), customdata: says });
    }
  });
  return { traces, note: "Hollow: the paper's. Filled: ours.", layout: base(width, height, { ...made.layout, showlegend: false }) };
}
if (data.published?.length) { CHARTS.published = published; USES.published = []; }
// What the paper's methods selected, above what ours did.
for (const [name, one] of Object.entries(data.compositions ?? {})) {
  const says = (row, place) => [row[0], `${one.sources[place]}: ${fixed(row[1][place])} % of the rows`];
  CHARTS[name] = (width) => stacked(width, one.bars, one.sources, "share of rows, %", says, data.sources.colours, SOURCE_SHAPES, { range: [0, 100] });
  USES[name] = [];
}
