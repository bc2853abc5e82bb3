"use strict";
(() => {
  // --- Sorting tables -------------------------------------------------------------
  const valueOf = (cell) => {
    if (!cell.dataset || cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      const compare = (a, b) => {
        const [x, y] = [valueOf(a.cells[column]), valueOf(b.cells[column])];
        if (x === null || y === null) return (x === null) - (y === null);  // last
        const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
        return up ? order : -order;
      };
      rows.sort(compare).forEach((row) => table.tBodies[0].append(row));
    }));
  }

  // --- Clips ----------------------------------------------------------------------
  const data = JSON.parse(document.getElementById("data").textContent);
  const list = document.getElementById("list");
  if (!list) return;
  const detail = document.getElementById("detail");
  const url = (name) => data.files[name] || name.split("/").map(encodeURIComponent).join("/");
  const element = (tag, attributes = {}, ...inside) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...inside);
    return made;
  };
  const filter = Object.fromEntries(
    ["condition", "class", "right", "score", "method", "order"].map(
      (name) => [name, document.getElementById(`f-${name}`)]));
  const offer = (select, names) => select.append(
    ...names.map((name) => element("option", { value: name }, name)));
  const distinct = (values) => [...new Set(values)];
  const groupOf = (clip) => `${clip.condition}, ${clip.block}`;
  offer(filter.condition, distinct(data.clips.map(groupOf)));
  offer(filter.class, distinct(data.clips.map((clip) => clip.label))
    .filter((label) => label !== null && label !== undefined).sort());
  offer(filter.score, Object.keys(data.scores));

  let shown = [];      // clips in the list
  let current = null;  // the open clip
  let method = 0;      // row: 0 is the input
  let sounds = [];     // per row: { explanation: Audio, rest: Audio } or { input: Audio }
  let playing = null;  // { row, part }
  let before = null;   // what was heard before

  const offerMethods = () => {
    const was = filter.method.value;
    filter.method.replaceChildren();
    const clips = data.clips.filter((clip) => groupOf(clip) === filter.condition.value);
    offer(filter.method, distinct(clips.flatMap((clip) => Object.keys(clip.methods))));
    if ([...filter.method.options].some((o) => o.value === was)) filter.method.value = was;
  };

  const scoreOf = (clip) => {
    const own = clip.methods[filter.method.value];
    const value = own && own.scores ? own.scores[filter.score.value] : null;
    return value === undefined ? null : value;
  };

  const fill = () => {
    const { score, order } = filter;
    shown = data.clips.filter((clip) => groupOf(clip) === filter.condition.value
      && (!filter.class.value || clip.label === filter.class.value)
      && (!filter.right.value
        || (filter.right.value === "right") === (clip.label === clip.predicted)));
    if (score.value) {
      const up = data.scores[score.value].better === false;
      const sign = (order.value === "best") === up ? 1 : -1;
      shown = [...shown].sort((a, b) => {
        const [x, y] = [scoreOf(a), scoreOf(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (x - y);
      });
    }
    list.replaceChildren(...shown.map((clip) => {
      const right = clip.label === clip.predicted;
      const value = score.value ? scoreOf(clip) : null;
      const said = element("span", right || clip.label === null ? {} : { class: "wrong" },
        clip.label === null ? `heard as ${clip.predicted}`
          : right ? clip.label : `${clip.label}, heard as ${clip.predicted}`);
      const inside = [element("b", {}, clip.id), said];
      if (value !== null) inside.push(element("span", {}, `  ${score.value} ${format(value)}`));
      return element("li", {}, element("button", { type: "button", onclick: () => open(clip) },
        ...inside));
    }));
    document.getElementById("f-count").textContent =
      `${shown.length} of ${data.clips.length} clips`;
    if (!shown.includes(current)) open(shown[0] || null);
    else mark();
  };

  const format = (value) => value === null || value === undefined ? "–"
    : Math.abs(value) >= 100 ? value.toFixed(0)
      : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(3);
  const percent = (value) => value === null || value === undefined ? "–"
    : `${(100 * value).toFixed(0)} %`;

  const mark = () => [...list.querySelectorAll("button")].forEach((button, index) => {
    const here = shown[index] === current;
    if (here) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    if (here) {
      const [top, bottom] = [button.offsetTop, button.offsetTop + button.offsetHeight];
      if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) {
        list.scrollTop = top - list.clientHeight / 3;
      }
    }
  });

  const plot = (clip, mask, about, row) => {
    const top = clip.top_hz / 1000;
    const picture = element("div", { class: "picture" });
    if (clip.picture) picture.append(element("img", { src: url(clip.picture), alt: about }));
    if (mask) picture.append(element("img", { src: url(mask), alt: "", "aria-hidden": "true" }));
    picture.append(element("div", { class: "head" }));
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      seek(clip.seconds * (event.clientX - box.left) / box.width, row);
    });
    const ticks = [1, 0.75, 0.5, 0.25, 0].map((share) => element("span",
      { style: `top: ${100 * (1 - share)}%` },
      `${(share * top).toFixed(share * top % 1 ? 1 : 0)}${share === 1 ? " kHz" : ""}`));
    const times = [0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => element("span",
      { style: `left: ${100 * share}%` },
      `${(share * clip.seconds).toFixed(1)}${share === 1 ? " s" : ""}`));
    return element("div", { class: "plot" }, element("div", { class: "hz", "aria-hidden": "true" },
      ...ticks), picture, element("div", { class: "s", "aria-hidden": "true" }, ...times));
  };

  const button = (row, part, name, file) => {
    const made = element("button", {
      type: "button", "aria-pressed": "false", "data-row": row, "data-part": part,
      "aria-label": `play ${name}`, onclick: () => toggle(row, part),
    }, part);
    if (!file) {
      made.disabled = true;
      made.textContent = `${part}: no audio`;
    }
    return made;
  };

  const sound = (file) => {
    if (!file) return null;
    const made = new Audio();
    made.preload = "none";
    made.src = url(file);
    made.addEventListener("error", () => { playing = null; press(); });
    made.addEventListener("ended", () => {
      moment = current.seconds;  // the playhead stays there; the next one begins anew
      before = playing;
      playing = null;
      press();
      place();
    });
    return made;
  };

  const open = (clip) => {
    stop();
    sounds.forEach((parts) => Object.values(parts).forEach((one) => {
      if (one) one.removeAttribute("src");
    }));
    current = clip;
    before = null;
    if (clip === null) {
      sounds = [];
      detail.replaceChildren(element("p", { class: "none" }, "No matching clips."));
      mark();
      return;
    }
    const methods = Object.entries(clip.methods);
    method = Math.min(method, methods.length);
    sounds = [{ input: sound(clip.input) },
      ...methods.map(([, own]) => ({ explanation: sound(own.explanation), rest: sound(own.rest) }))];
    const classes = clip.label === null || clip.label === undefined ? ""
      : clip.label === clip.predicted ? `, ${clip.label}`
        : `, ${clip.label}, predicted ${clip.predicted}`;
    const first = element("section", { class: "method", "data-row": 0, "aria-label": "input" },
      element("div", { class: "row" }, element("h4", {}, "Input"),
        button(0, "input", "the input", clip.input)),
      plot(clip, null, `Spectrogram of ${clip.id}, 0 to ${clip.top_hz / 1000} kHz, grey: -80 to 0 dB`, 0));
    const rows = methods.map(([name, own], index) => {
      const row = index + 1;
      const says = element("span", { class: "says" }, "confidence in ",
        element("b", {}, own.explained || "the class"), ` ${percent(own.p)}; decoded audio: explanation `,
        element("b", {}, percent(own.heard_confidence_in)),
        `, rest ${percent(own.heard_confidence_out)}; masked representation: `,
        `${percent(own.p_in)} and ${percent(own.p_out)}`);
      const scores = Object.entries(own.scores || {}).filter(([, value]) => value !== null)
        .map(([score, value]) => element("li", { title: data.scores[score].about },
          element("span", {}, `${score} `), format(value)));
      return element("section", { class: "method", "data-row": row, "aria-label": name },
        element("div", { class: "row" }, element("h4", {}, name),
          button(row, "explanation", `the explanation by ${name}`, own.explanation),
          button(row, "rest", `the rest by ${name}`, own.rest), says),
        plot(clip, own.mask, `Spectrogram of ${clip.id} with the mask of ${name} over it`, row),
        element("ul", { class: "scores" }, ...scores));
    });
    const head = element("h3", {}, `${clip.id}${classes}`);
    if (clip.figure) head.append(" ", element("a", { href: url(clip.figure) }, "figure (PDF)"));
    detail.replaceChildren(head, first, ...rows);
    detail.addEventListener("focusin", follow);
    mark();
    press();
    place();
  };

  const follow = (event) => {
    const row = event.target.closest(".method");
    if (row) { method = Number(row.dataset.row); press(); }
  };

  // --- Playing: one sound at a time, all at the same moment -------------------------
  const now = () => playing ? sounds[playing.row][playing.part] : null;
  let moment = 0;
  const toggle = (row, part) => {
    const next = sounds[row] && sounds[row][part];
    if (!next) return;
    method = row;
    if (playing && playing.row === row && playing.part === part) { stop(); return; }
    const old = now();
    if (old) {
      moment = old.currentTime;
      old.pause();
      before = playing;
    } else if (moment >= current.seconds - 0.05) moment = 0;
    playing = { row, part };
    next.currentTime = moment;
    next.play().catch(() => { playing = null; press(); });
    press();
    requestAnimationFrame(move);
  };
  const stop = () => {
    const old = now();
    if (old) { moment = old.currentTime; old.pause(); }
    if (playing) before = playing;
    playing = null;
    press();
  };
  const seek = (seconds, row) => {
    moment = Math.max(0, Math.min(seconds, current.seconds));
    if (now()) now().currentTime = moment;
    else toggle(row, row === 0 ? "input" : "explanation");
    place();
  };
  const press = () => {
    for (const one of detail.querySelectorAll("button[data-part]")) {
      one.setAttribute("aria-pressed", String(Boolean(playing)
        && Number(one.dataset.row) === playing.row && one.dataset.part === playing.part));
    }
    for (const one of detail.querySelectorAll(".method")) {
      one.classList.toggle("current", Number(one.dataset.row) === method);
    }
  };
  const place = () => {
    const at = now() ? now().currentTime : moment;
    const share = current ? Math.min(1, at / current.seconds) : 0;
    for (const head of detail.querySelectorAll(".head")) head.style.left = `${100 * share}%`;
  };
  const move = () => {
    place();
    if (playing) requestAnimationFrame(move);
  };

  // --- Keys -------------------------------------------------------------------------
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !current) return;
    if (/^(SELECT|INPUT|TEXTAREA|SUMMARY)$/.test(event.target.tagName)) return;
    const last = Object.keys(current.methods).length;
    const step = (by) => {
      const index = shown.indexOf(current) + by;
      if (index >= 0 && index < shown.length) open(shown[index]);
    };
    const select = (row) => {
      method = Math.max(0, Math.min(last, row));
      if (playing && playing.row !== method) {
        toggle(method, method === 0 ? "input" : playing.part === "input" ? "explanation" : playing.part);
      }
      press();
      const shownRow = detail.querySelector(`.method[data-row="${method}"]`);
      if (shownRow) shownRow.scrollIntoView({ block: "nearest" });
    };
    const actions = {
      " ": () => (playing ? stop() : toggle(method, method === 0 ? "input"
        : before && before.row === method ? before.part : "explanation")),
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      ArrowUp: () => select(method - 1),
      ArrowDown: () => select(method + 1),
      i: () => toggle(0, "input"),
      e: () => toggle(method || 1, "explanation"),
      r: () => toggle(method || 1, "rest"),
      a: () => { if (before) toggle(before.row, before.part); },
    };
    if (!(event.key in actions)) return;
    // A button that has the focus does what it says.
    const own = event.target.closest("button");
    if (event.key === " " && own && own.getAttribute("aria-current") !== "true") return;
    event.preventDefault();
    actions[event.key]();
  });

  filter.condition.addEventListener("change", () => { offerMethods(); fill(); });
  for (const name of ["class", "right", "score", "method", "order"]) {
    filter[name].addEventListener("change", fill);
  }
  offerMethods();
  fill();
})();
