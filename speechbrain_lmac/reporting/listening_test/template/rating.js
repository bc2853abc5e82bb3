"use strict";
(() => {
  const test = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const element = (tag, attributes = {}, ...inside) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
    }
    made.append(...inside);
    return made;
  };
  const random = () => crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
  const shuffled = (items) => {
    const order = [...items];
    for (let i = order.length - 1; i > 0; i -= 1) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  };

  const result = {
    test_id: test.test_id,
    participant: [...crypto.getRandomValues(new Uint8Array(5))]
      .map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    started: new Date().toISOString(),
    order: [],
    ratings: [],
    check: null,
  };
  // Trials, and the sounds of each, are shuffled for each participant; the attention
  // check comes in the middle.
  const trials = shuffled(test.trials).map((trial) => ({
    ...trial, order: shuffled(Object.keys(trial.stimuli)),
  }));
  result.order = trials.map(({ id, order }) => ({ trial: id, stimuli: order }));
  const pages = [welcome, () => rate({ ...test.training, order: shuffled(Object.keys(test.training.stimuli)) }, true),
    ...trials.map((trial) => () => rate(trial, false))];
  const middle = 2 + Math.floor(trials.length / 2);
  pages.splice(middle, 0, check);
  pages.push(finish);

  let at = 0;
  let playing = null;
  const show = (...inside) => {
    if (playing) playing.pause();
    playing = null;
    main.replaceChildren(...inside);
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  };
  const next = () => { at += 1; pages[at](); };
  // Confirm before ratings are lost.
  window.addEventListener("beforeunload", (event) => {
    if (at > 0 && at < pages.length - 1) event.preventDefault();
  });
  const progress = () => element("progress",
    { value: at, max: pages.length - 1, "aria-label": "progress" });

  const player = (file, name, onended) => {
    const audio = new Audio(file);
    audio.preload = "auto";
    const press = element("button", { type: "button", "aria-label": `play ${name}`, onclick: () => {
      if (playing === audio) { audio.pause(); return; }
      if (playing) playing.pause();
      playing = audio;
      audio.currentTime = 0;
      audio.play();
    } }, "play");
    audio.addEventListener("play", () => { press.textContent = "stop"; });
    audio.addEventListener("pause", () => {
      press.textContent = "play";
      if (playing === audio) playing = null;
    });
    audio.addEventListener("ended", () => { press.dataset.played = "yes"; onended(); });
    audio.addEventListener("error", () => {
      press.textContent = "cannot be played";
      press.disabled = true;
    });
    return press;
  };

  const slider = (name, text, ends, oninput) => {
    const shown = element("output", { "aria-hidden": "true" }, "–");
    const input = element("input", {
      type: "range", min: test.lowest, max: test.highest, step: 1,
      value: Math.round((test.lowest + test.highest) / 2), disabled: "disabled",
      name, "aria-label": text,
    });
    const set = () => {
      input.dataset.rated = "yes";
      shown.textContent = input.value;
      oninput();
    };
    // A touched slider counts as rated, even if its value stays.
    for (const kind of ["input", "change", "pointerup", "keyup"]) {
      input.addEventListener(kind, (event) => {
        if (!input.disabled && (kind !== "keyup" || event.key !== "Tab")) set();
      });
    }
    return element("div", { class: "question" }, element("label", {}, text),
      element("div", { class: "slide" }, input, shown),
      element("div", { class: "ends", "aria-hidden": "true" },
        element("span", {}, `${test.lowest}: ${ends[0]}`), element("span", {}, `${test.highest}: ${ends[1]}`)));
  };

  function welcome() {
    show(element("h1", {}, test.title),
      element("p", {}, "You will hear a recording, and then parts of it that were "
        + "selected by computer programs. Each should be the part that belongs to a class, for example the "
        + "dog in a street scene. Please rate how well it matches that part, and its audio quality."),
      element("p", {}, "Use headphones in a quiet room, at a comfortable level that you "
        + "do not change during the test. The sliders of a sound are enabled after it was played to its end. "
        + `There are ${trials.length} pages with ${Object.keys(trials[0].stimuli).length} sounds each, after one page for training.`),
      element("p", { class: "soft" }, "Your ratings stay on this computer until you send the file "
        + `that is saved at the end to the organiser of the test. Your code is ${result.participant}.`),
      element("div", { class: "next" }, element("button", { type: "button", id: "next", onclick: next }, "begin")));
  }

  function rate(trial, training) {
    const started = performance.now();
    const go = element("button", { type: "button", id: "next", disabled: "disabled", onclick: () => {
      if (!training) {
        for (const stimulus of trial.order) {
          for (const question of Object.keys(test.questions)) {
            const input = main.querySelector(`input[name="${stimulus}/${question}"]`);
            result.ratings.push({ trial: trial.id, stimulus, question, value: Number(input.value) });
          }
        }
        result.ratings[result.ratings.length - 1].page_seconds = (performance.now() - started) / 1000;
      }
      next();
    } }, "next");
    const ready = () => {
      const inputs = [...main.querySelectorAll("input[type=range]")];
      go.disabled = !inputs.every((input) => input.dataset.rated === "yes");
    };
    const sounds = trial.order.map((stimulus, index) => {
      const letter = String.fromCharCode(65 + index);
      const questions = Object.entries(test.questions).map(([name, text]) => slider(
        `${stimulus}/${name}`, text.replace("{}", trial.label.replaceAll("_", " ")),
        name === "quality" ? ["bad", "excellent"] : ["not at all", "perfectly"], ready));
      const box = element("section", { class: "sound", "aria-label": `sound ${letter}` },
        element("h2", {}, `Sound ${letter}`));
      box.append(player(trial.stimuli[stimulus], `sound ${letter}`, () => {
        for (const input of box.querySelectorAll("input")) input.disabled = false;
      }), ...questions);
      return box;
    });
    show(progress(),
      element("h1", {}, training ? "Training page (not scored)"
        : `The class is “${trial.label.replaceAll("_", " ")}”`),
      training ? element("p", {}, `The class is “${trial.label.replaceAll("_", " ")}”. Play the input, then each sound to its end, and set both of its sliders.`) : "",
      element("section", { class: "sound", "aria-label": "input" }, element("h2", {}, "The input"),
        player(trial.input, "the input", () => {})),
      ...sounds, element("div", { class: "next" }, go,
        element("span", { class: "soft" }, "Play each sound to its end and set all sliders to continue.")));
  }

  function check() {
    const go = element("button", { type: "button", id: "next", disabled: "disabled", onclick: () => {
      result.check = Number(main.querySelector("input").value);
      next();
    } }, "next");
    const box = element("section", { class: "sound", "aria-label": "beeps" }, element("h2", {}, "Beeps"));
    box.append(player(test.check, "the beeps", () => { box.querySelector("input").disabled = false; }),
      slider("check", "Set the slider to ten times the number of beeps that you hear.",
        ["", ""], () => { go.disabled = false; }));
    show(progress(), element("h1", {}, "Attention check"), box, element("div", { class: "next" }, go));
  }

  function finish() {
    result.finished = new Date().toISOString();
    const name = `ratings_${test.test_id}_${result.participant}.json`;
    const file = URL.createObjectURL(new Blob([JSON.stringify(result, null, 1)], { type: "application/json" }));
    const save = element("a", { href: file, download: name, id: "save" }, name);
    show(progress(), element("h1", {}, "Thank you"),
      element("p", {}, "Please save this file and send it to the organiser of the test: ", save, "."));
    save.click();
  }

  pages[0]();
})();
