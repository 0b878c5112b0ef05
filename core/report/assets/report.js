// SPDX-License-Identifier: Apache-2.0
// Draws the page from the JSON it carries. Everything that comes from data is set as text, never as markup.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const state = document.documentElement.dataset;
  const charts = [];  // of the run that is shown; the first `fixed` stay
  let fixed = 0;

  // ------------------------------------------------------------------ small tools

  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function add(parent, ...rest) {
    const node = make(...rest);
    parent.append(node);
    return node;
  }
  const whole = (n) => Number(n).toLocaleString("en-US");
  const per_cent = (x) => (x === null || x === undefined ? "–" : (100 * x).toFixed(1) + " %");
  const fixed2 = (x) => (x === null || x === undefined ? "–" : x.toFixed(2));
  const share = (n, of) => (of ? n / of : null);

  function section(parent, title, note) {
    const node = add(parent, "section");
    add(node, "h2", "", title);
    if (note) add(node, "p", "note", note);
    return node;
  }

  const words = (text) => ({ text, className: "text" });

  // header and rows: texts, or {text, className}; words() are left-aligned.
  function table(parent, header, rows) {
    const node = add(add(parent, "div", "scroll"), "table");
    const head = add(add(node, "thead"), "tr");
    for (const cell of header) {
      const plain = typeof cell === "object" ? cell : { text: cell };
      add(head, "th", plain.className || "", plain.text).scope = "col";
    }
    const body = add(node, "tbody");
    for (const row of rows) {
      const line = add(body, "tr");
      for (const cell of row) {
        const plain = typeof cell === "object" && cell !== null ? cell : { text: cell };
        add(line, "td", plain.className || "", plain.text === "" ? "–" : plain.text);
      }
    }
    return node;
  }

  // A table of figures: the best of each column that `best` names stands out, if there is something to compare.
  function figures(parent, source, best) {
    const rows = source.rows.map((row, r) => row.map((text, c) => {
      const values = source.values.map((line) => line[c]).filter((value) => value !== null);
      const high = Math.max(...values);
      const top = best(source.header[c]) && source.values[r][c] === high && high > Math.min(...values);
      return { text, className: top ? "best" : "" };
    }));
    table(parent, source.header, rows);
    for (const note of source.notes) add(parent, "p", "note", note);
  }

  // ------------------------------------------------------------------ charts

  const palette = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#b8a100"];
  const color = (i) => palette[i % palette.length];

  function chart(parent, title, explanation, config, className) {
    if (!window.Chart) return;
    const figure = add(parent, "figure");
    const caption = add(figure, "figcaption", "", title);
    if (explanation) add(caption, "small", "", explanation);
    const canvas = add(add(figure, "div", "chart " + (className || "")), "canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    charts.push(new window.Chart(canvas, config));
  }

  function axes(x_title, y_title, more) {
    const style = getComputedStyle(document.documentElement);
    const soft = style.getPropertyValue("--soft").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = (title) => ({
      title: { display: Boolean(title), text: title, color: soft },
      ticks: { color: soft },
      grid: { color: line },
    });
    const options = {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: { legend: { position: "bottom", labels: { color: soft, boxWidth: 14, boxHeight: 10 } } },
      scales: { x: axis(x_title), y: axis(y_title) },
    };
    Object.assign(options.scales.y, more || {});
    return options;
  }

  function without_legend(options) {  // for a single set, which the title names
    options.plugins.legend.display = false;
    return options;
  }

  function lines(labels, sets) {
    return {
      labels,
      datasets: sets.map((set, i) => ({
        label: set.label, data: set.data, borderColor: color(i), backgroundColor: color(i),
        borderWidth: 2, pointRadius: set.points ? 3 : 0, tension: 0, spanGaps: true,
      })),
    };
  }

  // ------------------------------------------------------------------ results

  function results() {
    const node = section(main, "Results");
    figures(node, data.overview, (heading) => /Bench|Acc/.test(heading));
    add(node, "p", "note",
      "Mean Acc is the mean of the three suites; Overall Acc is all correct pairs of all rows, from counts. " +
      "A pair counts as correct only when the chosen response has the strictly higher reward; ties and failures " +
      "are wrong. Label noise: wrong labels among the training pairs whose truth is known.");
    if (data.comparisons && data.comparisons.rows.length) {
      add(node, "h3", "", data.comparisons.title);
      figures(node, data.comparisons, () => false);
    }
    if (data.seeds.rows.length) {
      add(node, "h3", "", data.seeds.title);
      figures(node, data.seeds, (heading) => /Bench|Acc/.test(heading));
    }
    const columns = data.overview.header.map((heading, c) => ({ heading, c })).filter(({ heading, c }) =>
      /Bench|Acc/.test(heading) && data.overview.values.some((line) => line[c] !== null));
    const rows = data.overview.rows.map((row, r) => ({
      label: row[0], values: columns.map(({ c }) => data.overview.values[r][c]),
    })).filter((row) => row.values.some((value) => value !== null));
    if (rows.length) {
      chart(node, "Accuracy of each method", "", {
        type: "bar",
        data: {
          labels: columns.map(({ heading }) => heading),
          datasets: rows.map((row, i) => ({
            label: row.label, backgroundColor: color(i), maxBarThickness: 44,
            data: row.values.map((value) => (value === null ? null : 100 * value)),
          })),
        },
        options: axes("", "per cent", { min: 0, max: 100 }),
      }, "tall");
    }
    if (data.expectations.length) {
      add(node, "h3", "", "What the experiments expect");
      const list = add(node, "ul", "claims");
      const named = { holds: "✓ holds", fails: "✗ does not hold", unknown: "? cannot be told" };
      for (const one of data.expectations) {
        const item = add(list, "li");
        add(item, "span", "state " + one.state, named[one.state]);
        item.append(` ${one.run}: `);
        add(item, "code", "", one.claim);
        item.append(` — ${one.detail}`);
      }
    }
    add(node, "h3", "", "To reproduce");
    add(node, "pre", "", data.command);
  }

  function benchmarks() {
    if (!data.benchmarks.length) return;
    const node = section(main, "Benchmarks", "Accuracy in per cent, as each suite's own script counts it.");
    const summary = ["Model", "Ties", "Failed", "Rows", "Overall", "Overall Acc", "Macro Acc", "Mean of columns", "Acc", "Acc+"];
    for (const one of data.benchmarks) {
      add(node, "h3", "", one.title);
      figures(node, one, (heading) => !["Model", "Ties", "Failed", "Rows"].includes(heading));
      const columns = one.header.map((heading, c) => ({ heading, c })).filter(({ heading, c }) =>
        !summary.includes(heading) && one.values.some((line) => line[c] !== null));
      if (columns.length < 2) continue;
      chart(node, `${one.title.replace(/ \(layout.*/, "")} by category`, "", {
        type: "bar",
        data: {
          labels: columns.map(({ heading }) => heading),
          datasets: one.rows.map((row, i) => ({
            label: row[0], backgroundColor: color(i), maxBarThickness: 44,
            data: columns.map(({ c }) => (one.values[i][c] === null ? null : 100 * one.values[i][c])),
          })),
        },
        options: axes("", "per cent", { min: 0, max: 100 }),
      });
    }
  }

  function analyses() {
    const all = data.analyses;
    const tables = [all.conventions, all.style, all.pictures, all.calibration, all.agreement].filter((one) => one.rows.length);
    if (!tables.length) return;
    const node = section(main, "What the accuracies hide");
    for (const one of tables) {
      add(node, "h3", "", one.title);
      figures(node, one, () => false);
      if (one === all.pictures) {
        chart(node, "Accuracy with other pictures", "per cent", {
          type: "bar",
          data: {
            labels: one.rows.map((row) => row[0]),
            datasets: [1, 2, 3].map((c) => ({
              label: one.header[c], backgroundColor: color(c - 1), maxBarThickness: 44,
              data: one.values.map((line) => (line[c] === null ? null : 100 * line[c])),
            })),
          },
          options: axes("", "per cent", { min: 0, max: 100 }),
        });
      }
      if (one === all.calibration) {
        const bins = all.curves[0].bins.map((bin) => (bin.low + bin.high) / 2);
        const config = {
          type: "line",
          data: lines(bins.map((middle) => middle.toFixed(3)), [
            { label: "as sure as right", data: bins.map((middle) => 100 * middle) },
            ...all.curves.map((curve) => ({
              label: curve.label, points: true,
              data: curve.bins.map((bin) => (bin.accuracy === null ? null : 100 * bin.accuracy)),
            })),
          ]),
          options: axes("confidence (sigmoid of the margin)", "right, per cent", { min: 0, max: 100 }),
        };
        Object.assign(config.data.datasets[0], { borderDash: [4, 4], borderColor: "#8c8c8c" });
        chart(node, "Reliability", "right answers by confidence, in bins of five points", config);
      }
    }
  }

  // Tables that the command asked for by name: the paper's beside ours.
  function first() {
    for (const one of data.first || []) figures(section(main, one.title), one, () => false);
  }

  function answers() {
    const all = data.answers;
    if (!all || !all.picks.rows.length) return;
    const node = section(main, all.picks.title);
    figures(node, all.picks, () => false);
    if (all.gains.rows.length) {
      add(node, "h3", "", all.gains.title);
      figures(node, all.gains, () => false);
    }
    const grid = add(node, "div", "grid");
    for (const curve of all.curves) {
      chart(grid, curve.title, "by how many answers there are to pick from: expectation over all subsets of those drawn", {
        type: "line",
        data: lines(curve.n, [
          ...curve.lines.map((line) => ({
            label: line.by, points: true, data: line.value.map((value) => (value === null ? null : curve.scale * value)),
          })),
          { label: "random", data: curve.n.map(() => curve.scale * curve.random) },
        ]),
        options: axes("answers", curve.scale === 100 ? "per cent" : "rating"),
      });
    }
    if (!all.before_after.rows.length) return;
    add(node, "h3", "", all.before_after.title);
    figures(node, all.before_after, () => false);
    const [before, after] = ["Before", "After"].map((name) => all.before_after.header.indexOf(name));
    const rows = all.before_after.rows.map((row, r) => ({ row, values: all.before_after.values[r] })).filter(({ row }) => row[2] !== "failed");
    chart(node, "The policy before and after training", "", {
      type: "bar",
      data: {
        labels: rows.map(({ row }) => `${row[0]}: ${row[1]}, ${row[2]}`),
        datasets: [["before", before], ["after", after]].map(([label, column], i) => ({
          label, backgroundColor: color(i), maxBarThickness: 44,
          data: rows.map(({ row, values }) => (values[column] === null ? null : (row[2].startsWith("rating") ? 1 : 100) * values[column])),
        })),
      },
      options: axes("", "per cent, or rating"),
    }, "tall");
  }

  function judges() {
    if (data.judges && data.judges.rows.length) {
      figures(section(main, data.judges.title,
        "Read: replies that gave a score. First place: how much more than its prompt's mean the candidate got that was shown first; "
        + "0 without a preference. Longer ahead: of candidates that differ in length and score; 50 is no preference. "
        + "Spread: standard deviation over repeated draws. Own family: mean score of candidates from the judge's own family of models "
        + "less that of others; they may also be better. Below a scorer: its mean score by who wrote the candidates."),
        data.judges, () => false);
    }
    if (data.pair_judges && data.pair_judges.rows.length) {
      figures(section(main, data.pair_judges.title,
        "Of comparisons that curators asked for. Same: of pairs answered in both orders, the same response (or a tie) both times; "
        + "by place: twice whichever was shown first, or twice the other. First and longer ahead: of answers without a tie; 50 is no preference. "
        + "Repeats alike: share of the commonest vote of repeated draws. Own family ahead: where one response is of the judge's own family of "
        + "models and one is not; beside it what judges of other families say of the same pairs. Cost: of all that the judge's model was asked "
        + "in the stages counted here; empty where several judges ask one model."),
        data.pair_judges, () => false);
    }
  }

  function calls() {
    if (!data.calls || !data.calls.rows.length) return;
    figures(section(main, data.calls.title), data.calls, () => false);
  }

  function mixture() {
    if (!data.mixture || !data.mixture.rows.length) return;
    figures(section(main, data.mixture.title), data.mixture, () => false);
  }

  function bias() {
    if (!data.bias || !data.bias.rows.length) return;
    const node = section(main, data.bias.title,
      "Of pairs held out, the per cent whose chosen side a small classifier tells that sees nothing but manner: 50 is chance. "
      + "Longer, more Markdown, earlier: how often the chosen side is that one, of pairs that differ in it. "
      + "Scorers agree: of couples of candidates that no scorer holds equal, how often all put them in the same order.");
    figures(node, data.bias, () => false);
    const column = data.bias.header.indexOf("Style");
    chart(node, "What style tells", "per cent of labels; 50 is chance", {
      type: "bar",
      data: {
        labels: data.bias.rows.map((row) => row[0]),
        datasets: [{
          label: "told by style", backgroundColor: color(0), maxBarThickness: 44,
          data: data.bias.values.map((row) => (row[column] === null ? null : 100 * row[column])),
        }],
      },
      options: without_legend(axes("", "per cent", { min: 40, max: 100 })),
    });
  }

  function noise() {
    if (!data.noise.rows.length) return;
    const node = section(main, "Labels against known truth",
      "Drawn data carry their truth; no model sees it. Wrong: the rejected response is really the better one.");
    figures(node, data.noise, () => false);
    chart(node, "Wrong labels", "", {
      type: "bar",
      data: {
        labels: data.noise.rows.map((row) => row[0]),
        datasets: [{
          label: "wrong, per cent", backgroundColor: color(5), maxBarThickness: 44,
          data: data.noise.values.map((row) => (row[1] === null ? null : 100 * row[1])),
        }],
      },
      options: without_legend(axes("", "per cent", { min: 0 })),
    });
  }

  // ------------------------------------------------------------------ one run

  function funnel(parent, run) {
    const stages = run.stages.filter((stage) => stage.funnel.length);
    if (!stages.length) return;
    const node = section(parent, "Funnel", "What each stage made, and what it dropped and why.");
    const grid = add(node, "div", "funnel");
    for (const stage of stages) {
      add(grid, "div", "stage", `${stage.name} (${stage.type})`);
      const top = Math.max(1, ...stage.funnel.map((step) => step.count));
      for (const step of stage.funnel) {
        add(grid, "div", "name", step.name);
        const bar = add(grid, "div", "bar");
        add(bar, "div", "fill").style.width = `${(60 * step.count) / top}%`;
        add(bar, "span", "", whole(step.count));
        const reasons = step.dropped.map((one) => `${one.reason} ${whole(one.count)}`).join(", ");
        if (reasons) add(bar, "span", "dropped", `dropped: ${reasons}`);
      }
    }
  }

  function judge(parent, run) {
    if (!run.judge) return;
    const scorers = run.judge.scorers;
    const node = section(parent, "The judge",
      `${whole(run.judge.prompts)} prompts. Responses stand in random order, so a slope over the places is position ` +
      "bias. Pointwise scores see one response at a time and cannot have it.");
    const grid = add(node, "div", "grid");
    chart(grid, "Distribution of scores", "share of the scored candidates, bins of half a point", {
      type: "bar",
      data: {
        labels: scorers[0].histogram.map((_, i) => (i / 2).toFixed(1)),
        datasets: scorers.map((one, i) => ({
          label: `${one.name} (${whole(one.scored)})`, backgroundColor: color(i),
          data: one.histogram.map((count) => (one.scored ? (100 * count) / one.scored : null)),
        })),
      },
      options: axes("overall score", "per cent", { min: 0 }),
    });
    const places = Math.max(...scorers.map((one) => one.places.length));
    if (places > 1) {
      chart(grid, "Score by place in the list", "mean difference from the mean score of the same prompt", {
        type: "line",
        data: lines(Array.from({ length: places }, (_, i) => i + 1),
          scorers.filter((one) => one.places.length > 1).map((one) => ({
            label: one.name, points: true, data: one.places.map((place) => place.deviation),
          }))),
        options: axes("place", "points"),
      });
    }
    add(node, "h3", "", "Scorers");
    table(node, ["Scorer", "Scored", "Mean", "Failed", "Mean by place (1, 2, …)"], scorers.map((one) => [
      one.name, whole(one.scored), fixed2(one.mean),
      Object.entries(one.failed).map(([status, count]) => `${status} ${whole(count)}`).join(", ") || "0",
      one.places.map((place) => fixed2(place.score)).join(" · ") || "–",
    ]));
    if (!run.judge.agreements.length) return;
    add(node, "h3", "", "Agreement of the scorers on couples of candidates");
    table(node, ["Scorers", "Agree", "Opposed", "Tie in the first", "Tie in the second", "Correlation"],
      run.judge.agreements.map((one) => {
        const all = one.agree + one.opposed + one.tie_first + one.tie_second;
        const cell = (n) => `${whole(n)} (${per_cent(share(n, all))})`;
        return [`${one.first}, ${one.second}`, cell(one.agree), cell(one.opposed), cell(one.tie_first),
          cell(one.tie_second), fixed2(one.correlation)];
      }));
  }

  function training(parent, run) {
    if (!run.training.length) return;
    const node = section(parent, "Training");
    // Single batches jump about: means over a tenth of the steps tell more.
    const window = (curve) => Math.max(1, Math.round(curve.step.length / 10));
    const mean_before = (curve, key, end) => {
      const values = curve[key].slice(Math.max(0, end - window(curve)), end).filter((value) => value !== null);
      return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
    };
    const last = (curve, key) => mean_before(curve, key, curve.step.length);
    const speed = (curve) => (curve.seconds === undefined ? ["", "", ""] :
      [curve.pairs_per_second.toFixed(1), whole(Math.round(curve.tokens_per_second)), (curve.peak_memory_bytes / 2 ** 30).toFixed(2)]);
    const held_out = (curve) => {
      const best = curve.held_out.reduce((a, b) => (a && a.accuracy >= b.accuracy ? a : b), null);
      return best ? `${per_cent(best.accuracy)} (step ${whole(best.step)})` : "";
    };
    table(node, ["Stage", "Steps", "Loss", "Accuracy", "Margin", "Chosen", "Rejected", "Held out, best", "Pairs/s", "Tokens/s", "GiB"],
      run.training.map((curve) => [curve.stage, whole(curve.step[curve.step.length - 1]), fixed2(last(curve, "loss")),
        per_cent(last(curve, "accuracy")), fixed2(last(curve, "margin")), fixed2(last(curve, "chosen_reward")),
        fixed2(last(curve, "rejected_reward")), held_out(curve), ...speed(curve)]));
    add(node, "p", "note", "Loss, accuracy, margin and rewards are means over the last tenth of the steps, on the batches trained on.");
    const sources = [...new Set(run.training.flatMap((curve) => curve.sources.map((one) => one.source)))];
    if (sources.length > 1) {
      add(node, "p", "note", "Accuracy by source, on the pairs of the last quarter of the steps:");
      table(node, ["Stage", ...sources], run.training.map((curve) => [curve.stage, ...sources.map((name) => {
        const one = curve.sources.find((each) => each.source === name);
        return one ? `${per_cent(one.accuracy)} (${whole(one.pairs)})` : "";
      })]));
    }
    const grid = add(node, "div", "grid");
    // Trainings may differ in length: each is drawn over its own steps.
    const points = (curve, factor, value) =>
      curve.step.map((step, i) => ({ x: step, y: value(i) === null ? null : factor * value(i) }));
    for (const [key, title, unit, factor] of [["loss", "Loss", "", 1],
      ["accuracy", "Accuracy on the batches trained on", "per cent", 100]]) {
      const options = axes("step", unit);
      options.scales.x.type = "linear";
      options.plugins.legend.labels.filter = (item) => item.text !== "";
      options.plugins.tooltip = { filter: (item) => item.dataset.label !== "" };
      const set = (curve, i, label, width, tint, value) => ({
        label, data: points(curve, factor, value), borderColor: color(i) + tint, backgroundColor: color(i),
        borderWidth: width, pointRadius: 0, spanGaps: true,
      });
      chart(grid, title, "thin: single batches; thick: mean over a tenth of the steps", {
        type: "line",
        data: { datasets: run.training.flatMap((curve, i) => [
          set(curve, i, curve.stage, 2, "", (at) => mean_before(curve, key, at + 1)),
          set(curve, i, "", 1, "50", (at) => curve[key][at]),
        ]) },
        options,
      });
    }
  }

  // ------------------------------------------------------------------ curation

  function shape(parent, tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  // Links that pass over columns get lanes in these, so that they do not run through other nodes.
  function with_lanes(flow) {
    const nodes = flow.nodes.map((one) => ({ ...one, into: [], out: [] }));
    const lanes = new Map();
    const links = [];
    const place = (link, from, to) => {
      const old = links.find((one) => one.from === from && one.to === to && one.source === link.source);
      if (old) old.count += link.count;
      else links.push({ from, to, source: link.source, count: link.count });
    };
    for (const link of flow.links) {
      let at = nodes[link.from];
      const end = nodes[link.to];
      for (let column = at.column + 1; column < end.column; column++) {
        const key = `${column} ${link.to}`;
        if (!lanes.has(key)) lanes.set(key, { column, kind: "lane", label: "", into: [], out: [] });
        place(link, at, lanes.get(key));
        at = lanes.get(key);
      }
      place(link, at, end);
    }
    return { nodes: [...nodes, ...lanes.values()], links };
  }

  // Columns from left to right; the height of a node or band is its number of pairs.
  function draw_flow(parent, flow, sources) {
    const width = 1120, height = 340, top = 26, gap = 17, bar = 9, room = 130;
    const order = ["kept", "data", "lane", "flipped", "open", "source", "discarded"];
    const { nodes, links } = with_lanes(flow);
    for (const link of links) {
      link.from.out.push(link);
      link.to.into.push(link);
    }
    const sum = (list) => list.reduce((total, link) => total + link.count, 0);
    for (const node of nodes) node.count = Math.max(sum(node.into), sum(node.out));
    const columns = flow.columns.map((_, c) => nodes.filter((node) => node.column === c)
      .sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)));
    const scale = Math.min(...columns.filter((list) => list.length).map((list) =>
      Math.max(40, height - gap * (list.length - 1)) / Math.max(1, list.reduce((total, node) => total + node.count, 0))));
    const lowest = Math.max(...columns.map((list, c) => {
      let y = top;
      for (const node of list) {
        node.x = columns.length > 1 ? (c * (width - room)) / (columns.length - 1) : 0;
        node.y = y;
        node.height = node.count * scale;
        y += Math.max(node.height, 1) + gap;
      }
      return y;
    }));

    const svg = shape(add(parent, "div", "scroll"), "svg",
      { class: "flow", viewBox: `0 0 ${width} ${Math.ceil(lowest)}`, role: "img", "aria-label": flow.title });
    flow.columns.forEach((name, c) => shape(svg, "text",
      { class: "column", x: columns.length > 1 ? (c * (width - room)) / (columns.length - 1) : 0, y: 12 }, name));
    const by = (side) => (a, b) => sources.indexOf(a.source) - sources.indexOf(b.source) || a[side].y - b[side].y;
    for (const node of nodes) {
      let y = node.y;
      for (const link of node.out.sort(by("to"))) y += (link.start = y, link.count * scale);
      y = node.y;
      for (const link of node.into.sort(by("from"))) y += (link.end = y, link.count * scale);
    }
    for (const link of links) {
      const thick = link.count * scale;
      const x0 = link.from.x + (link.from.kind === "lane" ? bar / 2 : bar), x1 = link.to.x + (link.to.kind === "lane" ? bar / 2 : 0);
      const y0 = link.start, y1 = link.end, middle = (x0 + x1) / 2, high = Math.max(thick, 0.6);
      const path = shape(svg, "path", {
        d: `M${x0} ${y0}C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}L${x1} ${y1 + high}`
          + `C${middle} ${y1 + high} ${middle} ${y0 + high} ${x0} ${y0 + high}Z`,
        fill: color(sources.indexOf(link.source)),
      });
      shape(path, "title", {}, `${link.source}: ${whole(link.count)} pairs`);
    }
    for (const node of nodes) {
      if (node.kind === "lane") continue;
      shape(svg, "rect", { class: node.kind, x: node.x, y: node.y, width: bar, height: Math.max(node.height, 1) });
      const short = node.label.length > 21 ? node.label.slice(0, 20) + "…" : node.label;
      const label = shape(svg, "text", { x: node.x + bar + 4, y: node.y + Math.max(node.height, 1) / 2 + 4 },
        `${short} ${whole(node.count)}`);
      shape(label, "title", {}, `${node.label}: ${whole(node.count)} pairs`);
    }
    const legend = add(parent, "p", "legend");
    for (const source of sources) {
      if (!flow.links.some((link) => link.source === source)) continue;
      const item = add(legend, "span");
      add(item, "i").style.background = color(sources.indexOf(source));
      item.append(source || "(no source)");
    }
  }

  function strengths(parent, curation) {
    const sources = [...new Set(curation.strengths.map((one) => one.source))];
    for (const source of sources) {
      const sets = curation.strengths.filter((one) => one.source === source);
      const limit = sets[0].limit, bins = sets[0].bins.length;
      const options = axes("margin of the label", "per cent of the pairs", { min: 0 });
      chart(parent, `Strength: ${source}`, `${curation.stage}; negative: the model contradicts the label; the outer bins hold the rest`, {
        type: "line",
        data: lines(Array.from({ length: bins }, (_, i) => (limit * ((2 * i + 1) / bins - 1)).toPrecision(2)), sets.map((set) => ({
          label: `${set.voice} (${per_cent(share(set.negative, set.pairs))} negative)`,
          data: set.bins.map((count) => (100 * count) / set.pairs),
        }))),
        options,
      });
    }
  }

  // Per cent of equal signs; the correlation where both are models.
  function agreement(parent, curation) {
    const names = curation.voices.map((voice) => voice.name);
    const cell = (i, k) => {
      const one = curation.agreements.find((pair) => (pair.first === i && pair.second === k) || (pair.first === k && pair.second === i));
      if (i === k || !one) return "";
      const related = one.correlation !== null && !curation.voices[i].judge && !curation.voices[k].judge ? `, r ${fixed2(one.correlation)}` : "";
      return `${per_cent(share(one.same, one.pairs))}${related} (${whole(one.pairs)})`;
    };
    add(parent, "h3", "", `Agreement in ${curation.stage}`);
    table(parent, ["", ...names], names.map((name, i) => [name, ...names.map((_, k) => cell(i, k))]));
  }

  const named_truth = { right: "the label was right", wrong: "the label was wrong", tie: "neither is better" };

  function change_cards(parent, run) {
    if (!run.changes.length) return;
    const node = section(parent, "Label changes",
      "Pairs that curation turned, had judged, or dropped, drawn at random from each kind; as they came in.");
    for (const one of run.changes) {
      pair_card(node, one, [one.stage, one.kind, named_truth[one.label]], (card) => {
        table(card, ["Curator", words("Did"), words("Why"), words("Opinions")], one.steps.map((step) =>
          [step.curator, words(step.action), words(step.reason), words(step.opinions)]));
      });
    }
  }

  function curation(parent, run) {
    if (!run.curations || !run.curations.length) return;
    const sources = [...new Set(run.flows.flatMap((flow) => flow.links.map((link) => link.source)))].sort();
    const node = section(parent, "Curation", "How many pairs of each source went which way. The height of a band is its number of pairs; "
      + "a flipped pair goes on with its labels turned.");
    for (const flow of run.flows) {
      add(node, "h3", "", flow.title);
      draw_flow(node, flow, sources);
    }
    add(node, "h3", "", run.curation_steps.title);
    figures(node, run.curation_steps, () => false);
    const grid = add(node, "div", "grid");
    for (const one of run.curations) strengths(grid, one);
    const spoken = run.curations.filter((one) => one.agreements.length);
    if (spoken.length) {
      add(node, "p", "note", "Agreement: per cent of the pairs on which both have an opinion that have the same sign, the correlation of the "
        + "margins of two models, and the number of pairs. Judges see only what those before them left open, so models look worse beside them "
        + "than they are.");
      for (const one of spoken) agreement(node, one);
    }
    if (run.curation_judges.rows.length) {
      add(node, "h3", "", run.curation_judges.title);
      figures(node, run.curation_judges, () => false);
      add(node, "p", "note", "Same in both orders: of the pairs that a judge answered in both orders. First place: of the answers that are no "
        + "tie; 50 is no preference.");
    }
  }

  function curations() {
    if (!data.curation || !data.curation.rows.length) return;
    const node = section(main, data.curation.title, "What each curation did, over all curators of its chain. Flipped: left with the other label.");
    figures(node, data.curation, () => false);
    if (!data.curation_cost.rows.length) return;
    add(node, "h3", "", data.curation_cost.title);
    figures(node, data.curation_cost, () => false);
  }

  // ------------------------------------------------------------------ pairs

  function pictures(parent, list) {
    if (!list.length) return;
    const box = add(parent, "div", "pictures");
    for (const one of list) {
      const figure = add(box, "figure");
      if (one.url) {
        const image = add(figure, "img");
        image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 100));
        image.alt = one.caption;
        image.src = one.url;
      }
      add(figure, "figcaption", "", one.caption);
    }
  }

  function candidates(parent, pair) {
    if (!pair.candidates.length) return;
    const box = add(parent, "details");
    add(box, "summary", "", `${pair.candidates.length} candidates with their scores`);
    const names = [...new Set(pair.candidates.flatMap((one) => Object.keys(one.scores)))];
    const role = (one) => (one.id === pair.chosen_id ? "chosen" : one.id === pair.rejected_id ? "rejected" : "");
    const overall = (score) =>
      (!score ? "–" : score.status && score.status !== "ok" ? score.status : fixed2(score.overall));
    table(box, ["Candidate", words("Text"), ...names], pair.candidates.map((one) => [
      { text: [one.id, one.mllm, one.origin, role(one)].filter(Boolean).join(" · "), className: "" },
      words(one.text || `(${one.status || "empty"})`),
      ...names.map((name) => overall(one.scores[name])),
    ]));
    for (const name of names) {
      const with_criteria = pair.candidates.filter((one) => one.scores[name]?.criteria?.length);
      if (!with_criteria.length) continue;
      const inner = add(box, "details");
      add(inner, "summary", "", `Criteria, ${name}`);
      const short = (x) => (typeof x === "number" ? String(Math.round(100 * x) / 100) : "–");
      const rows = with_criteria.flatMap((one) => one.scores[name].criteria.map((criterion, i) => [
        i === 0 ? `Candidate ${one.id}` : "\u00a0",
        words(criterion.name ?? ""), short(criterion.weight), short(criterion.score),
        i === 0 ? `${overall(one.scores[name])} (stated ${short(one.scores[name].stated_overall)})` : "\u00a0",
        words(criterion.analysis || ""),
      ]));
      table(inner, ["", words("Criterion"), "Weight", "Score", "Overall", words("Analysis")], rows)
        .classList.add("criterion");
      const reference = with_criteria.find((one) => one.scores[name].judge_reference);
      if (reference) add(inner, "p", "note", `The judge's own answer: ${reference.scores[name].judge_reference}`);
    }
  }

  function pair_card(node, pair, chips, more) {
    const card = add(node, "div", "pair");
    const head = add(card, "div", "head");
    add(head, "code", "", pair.id);
    for (const text of [...chips, pair.source, pair.group]) if (text) add(head, "span", "chip", text);
    if (typeof pair.strength === "number") add(head, "span", "chip", `strength ${pair.strength.toFixed(3)}`);
    const body = add(card, "div", "body");
    if (pair.rejected_pictures.length) {
      const box = add(body, "div", "pictures");
      add(box, "p", "note", "For the chosen response:");
      pictures(box, pair.pictures);
      add(box, "p", "note", "For the rejected response:");
      pictures(box, pair.rejected_pictures);
    } else {
      pictures(body, pair.pictures);
    }
    const texts = add(body, "div", "texts");
    add(texts, "div", "words question", pair.question);
    const answers = add(texts, "div", "answers");
    for (const side of ["chosen", "rejected"]) {
      const answer = add(answers, "div", "answer " + side);
      add(answer, "b", "", side);
      add(answer, "div", "words", pair[side]);
    }
    if (pair.reference) add(texts, "p", "note", `Reference answer: ${pair.reference}`);
    if (pair.truth !== undefined) {
      const truth = add(texts, "details");
      add(truth, "summary", "", "Known truth");
      add(truth, "pre", "", JSON.stringify(pair.truth));
    }
    candidates(card, pair);
    more(card);
  }

  function gallery(parent, run) {
    if (!run.gallery.length) return;
    const node = section(parent, "Pairs",
      `${run.gallery.length} pairs of the stage ${run.pair_stage}, evenly spread over its file.`);
    for (const pair of run.gallery) pair_card(node, pair, [], () => {});
  }

  function errors(parent, run) {
    if (!run.errors.length) return;
    const node = section(parent, "Errors",
      "Items that the model got wrong: of each benchmark and group in turn the one with the largest margin for the wrong side, then " +
      "those without a reward. \u201cchosen\u201d is the benchmark's label.");
    for (const one of run.errors) {
      const rewards = one.chosen_reward === undefined ? one.status :
        `rewards: chosen ${one.chosen_reward.toPrecision(4)}, rejected ${one.rejected_reward.toPrecision(4)}`;
      pair_card(node, one.pair, [one.benchmark, rewards], () => {});
    }
  }

  function stages(parent, run) {
    const node = section(parent, "Stages");
    const number = (value) => (value === undefined ? "–" : whole(Math.round(value)));
    table(node, ["Stage", words("Type"), words("State"), "Seconds", "Model calls", "Failed", "Tokens", "Key"], run.stages.map((one) => [
      one.name, words(one.type), words(one.complete ? "done" : "not finished"),
      one.seconds === undefined ? "–" : one.seconds.toFixed(1),
      number(one.calls), number(one.failures), number(one.tokens), one.key,
    ]));
    add(node, "p", "note",
      "Runs share stages of the same key; seconds and calls are those of the run that did the work.");
  }

  // ------------------------------------------------------------------ page

  function show(parent, index) {
    for (const one of charts.splice(fixed)) one.destroy();
    parent.replaceChildren();
    const run = data.runs[index];
    const about = section(parent, run.label);
    if (run.about) add(about, "p", "", run.about);
    add(about, "p", "note", [run.paper, `experiment ${run.name}`, `profile ${run.profile}`, `seed ${run.seed}`,
      `dt2it ${run.version}`].filter(Boolean).join(" · "));
    funnel(parent, run);
    curation(parent, run);
    judge(parent, run);
    training(parent, run);
    change_cards(parent, run);
    gallery(parent, run);
    errors(parent, run);
    stages(parent, run);
    state.charts = String(charts.length);
    state.flows = String(document.querySelectorAll("svg.flow").length);
  }

  function runs() {
    if (!data.runs.length) return;
    const picker = make("div", "picker");
    if (data.runs.length > 1) section(main, "One run in detail").append(picker);
    const place = add(main, "div");
    fixed = charts.length;
    // Opens with the run that has most to show.
    const weight = (run) => 100 * (run.curations ? run.curations.length : 0) + (run.judge ? 10 * run.judge.scorers.length : 0) + (run.gallery.length ? 1 : 0);
    const first = data.runs.reduce((best, run, i) => (weight(run) > weight(data.runs[best]) ? i : best), 0);
    const buttons = data.runs.map((run, i) => {
      const button = add(picker, "button", "", run.label);
      button.type = "button";
      button.addEventListener("click", () => pick(i));
      return button;
    });
    function pick(index) {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
      show(place, index);
    }
    pick(first);
  }

  const versions = [...new Set(data.runs.map((run) => run.version))].join(", ");
  const profiles = [...new Set(data.runs.map((run) => run.profile))].join(", ");
  document.title = data.runs.length === 1 ? `${data.runs[0].label} — dt2it` : `${data.runs.length} runs — dt2it`;
  document.getElementById("subtitle").textContent =
    `${data.runs.length} run${data.runs.length === 1 ? "" : "s"} · profile ${profiles} · dt2it ${versions}`;
  if (!window.Chart) {
    add(main, "p", "warning", "The chart library was not there when this page was written, so it shows tables " +
      "only. ./dev setup fetches it; writing the report again adds the charts.");
  }
  first();
  results();
  answers();
  benchmarks();
  analyses();
  mixture();
  bias();
  noise();
  curations();
  judges();
  calls();
  runs();
  document.getElementById("footer").textContent = window.Chart
    ? `Charts: Chart.js ${window.Chart.version} (MIT licence).` : "";
  state.charts = String(charts.length);
  state.ready = "yes";
})();
