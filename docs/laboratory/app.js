// The page: what a reader does, and what is shown. Texts are put in as text, never as HTML.

import { fgm, noise, pgd, pushes } from "./embedding.js";
import { fetched, softmax, Victim } from "./victim.js";
import { greedy, substitutes, typos, words } from "./words.js";

const $ = (id) => document.getElementById(id);
const page = { victims: [], data: null, run: 0, pushes: null, typed: false };

/** An element with its children; strings become text. */
function make(kind, settings = {}, ...children) {
  const element = Object.assign(document.createElement(kind), settings);
  element.append(...children);
  return element;
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;
const say = (text) => ($("status").textContent = text);

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

const text = () => $("text").value.trim();
const label = () => Number(document.querySelector("input[name=label]:checked").value);

/** Whether an answer is right, in words and in colour. */
function verdict(victim, logits) {
  const p = softmax(logits);
  const answer = p.indexOf(Math.max(...p));
  const right = answer === label();
  const mark = right ? "✓" : "✗";
  return make("span", { className: right ? "right" : "wrong" },
    `${mark} ${victim.labels[answer]}, ${right ? "right" : "wrong"}`);
}

// ---------------------------------------------------------------------- what the models say

/** What both say of the text as it is. Of a text that was typed, the right answer is taken to be
 *  what reviews-clean says, until the reader says otherwise. */
async function predict() {
  const asked = text();
  const found = await Promise.all(page.victims.map((v) => v.logits([asked])));
  if (asked !== text()) return; // typed on meanwhile
  if (page.typed && asked) {
    page.typed = false;
    const [z] = found[0];
    document.querySelectorAll("input[name=label]")[z.indexOf(Math.max(...z))].checked = true;
  }
  $("predictions").replaceChildren(...page.victims.map((victim, k) => {
    const p = softmax(found[k][0])[1];
    const name = `${victim.name}: probability of positive`;
    const meter = make("meter", { min: 0, max: 1, value: p, ariaLabel: name });
    return make("div", { className: "card" }, make("h3", {}, victim.name), meter,
      make("p", {}, `positive ${percent(p)}, negative ${percent(1 - p)}`),
      make("p", {}, verdict(victim, found[k][0])));
  }));
}

// ---------------------------------------------------------------------- embeddings

async function push() {
  if (page.typed) await predict();
  const [eps, steps, y] = [Number($("eps").value), Number($("steps").value), label()];
  const run = ++page.run;
  say("Pushing …");
  const all = [];
  for (const victim of page.victims) {
    const ids = victim.tokenizer.encode(text());
    const [before] = await victim.logits([text()]);
    const rows = { "No attack": { logits: before } };
    rows.Noise = await noise(victim, ids, y, eps, steps);
    rows.FGM = await fgm(victim, ids, y, eps);
    rows.PGD = await pgd(victim, ids, y, eps, steps);
    if (run !== page.run) return;
    all.push({ victim, ids, rows });
  }
  page.pushes = all;
  showPushes();
  const said = all.map(({ victim, rows }) =>
    `${victim.name}: ${percent(softmax(rows.PGD.logits)[y])} under PGD`);
  say(`Probability of the right answer. ${said.join("; ")}.`);
}

function showPushes() {
  const shown = $("shown").value;
  $("pushed").replaceChildren(...page.pushes.map(({ victim, ids, rows }) => {
    const lines = Object.entries(rows).map(([name, { logits }]) => make("tr", {},
      make("th", { scope: "row" }, name),
      make("td", {}, percent(softmax(logits)[label()])), make("td", {}, verdict(victim, logits))));
    const head = make("tr", {}, ...["Attack", "Right answer", "Verdict"].map((name) =>
      make("th", { scope: "col" }, name)));
    const table = make("table", {}, make("caption", {}, "Probability of the right answer"),
      make("thead", {}, head), make("tbody", {}, ...lines));
    const far = pushes(victim, rows[shown].delta).slice(1, -1);
    const most = Math.max(...far);
    const tokens = far.map((length, k) => {
      const token = make("li", {}, victim.tokenizer.words[ids[k + 1]],
        make("span", { className: "bar", ariaHidden: "true" }),
        make("small", {}, length.toFixed(3)));
      token.style.setProperty("--share", most ? length / most : 0);
      return token;
    });
    const name = `Push by ${shown}, in lengths of a mean token embedding`;
    return make("div", { className: "card" }, make("h3", {}, victim.name), table,
      make("p", { className: "help" }, `${name}:`),
      make("ul", { className: "tokens", ariaLabel: name }, ...tokens));
  }));
}

// ---------------------------------------------------------------------- words

const ATTACKS = {
  substitutes: (asked) => [substitutes(asked, page.data.groupOf), 1],
  typos: (asked) => [typos(asked, page.data.keep), 0.2],
};

async function change(kind) {
  if (page.typed) await predict();
  const run = ++page.run;
  const [asked, y] = [text(), label()];
  const [options, share] = ATTACKS[kind](asked);
  if (!options.some((some) => some.length) || share * options.length < 1) {
    throw new RangeError("this attack knows no word here that it may change; take another text");
  }
  const cards = page.victims.map(() => make("div", { className: "card" }));
  $("changed").replaceChildren(...cards);
  page.victims.forEach((v, k) => cards[k].append(make("h3", {}, v.name)));
  $("stop").hidden = false;
  const said = [];
  for (const [k, victim] of page.victims.entries()) {
    const list = make("ol", { className: "queries", tabIndex: 0, role: "list" });
    list.ariaLabel = `Queries to ${victim.name}`;
    const answer = make("p", {}, "Asking …");
    cards[k].append(answer, make("p", { className: "help" },
      "Each query, and the probability of the right answer:"), list);
    const old = words(asked);
    let count = 0;
    const query = ({ kind, place, word, logits }) => {
      const what = { first: "the text as it is", without: `without “${old[place]}”`,
        try: `${old[place]} → ${word}` }[kind];
      list.append(make("li", {}, `${what}: ${percent(softmax(logits)[y])}`));
      list.scrollTop = list.scrollHeight;
      if (++count % 25 === 0) say(`${victim.name}: ${count} queries …`);
    };
    const stopped = () => run !== page.run;
    const result = await greedy(victim, asked, y, options, share, query, stopped);
    if (stopped()) {
      answer.textContent = "Stopped.";
      break;
    }
    const queries = `${result.queries} ${result.queries === 1 ? "query" : "queries"}`;
    const [state, how] = result.wrongBefore ? ["Wrong from the start; nothing to fool", "wrong"]
      : result.success ? [`Fooled after ${queries}`, "wrong"]
      : [`Withstood ${queries}`, "right"];
    answer.replaceChildren(make("span", { className: how }, state));
    if (result.changes.size) {
      answer.after(make("p", {}, "The strongest text found: ", ...marked(asked, result.changes)));
    }
    said.push(`${victim.name}: ${state}`);
  }
  if (run !== page.run) return;
  say(`${said.join(". ")}.`);
  idle(kind);
}

/** The text, each old word struck out and the new one underlined. */
function marked(old, changes) {
  let i = 0;
  return old.split(/([\p{L}\p{N}_'’-]+)/u).flatMap((part, k) => {
    if (k % 2 === 0) return [part];
    const come = changes.get(i++);
    return come === undefined ? [part] : [make("del", {}, part), " ", make("ins", {}, come)];
  });
}

// ---------------------------------------------------------------------- controls

/** No search runs. Whoever stands on the button that goes away is led to the one that began it. */
function idle(kind) {
  const here = document.activeElement === $("stop");
  $("stop").hidden = true;
  if (here) $(kind ?? "substitutes").focus();
}

/** Run it; what goes wrong is said in a sentence. */
const safely = (action) => async (...given) => {
  trouble("");
  try {
    await action(...given);
  } catch (error) {
    idle();
    say("");
    trouble(`That did not work: ${error.message}.`);
  }
};

/** After the text or the right answer has changed, older results are no longer true. */
function forget() {
  page.run += 1;
  page.pushes = null;
  idle();
  for (const id of ["pushed", "changed"]) $(id).replaceChildren();
}

function sliders() {
  for (const id of ["eps", "steps"]) $(`${id}-is`).textContent = $(id).value;
}

function listen() {
  const later = (action, wait = 250) => {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, wait);
    };
  };
  const answer = later(safely(predict));
  $("text").addEventListener("input", () => {
    forget();
    page.typed = true;
    $("example").selectedIndex = -1;
    answer();
  });
  $("example").addEventListener("change", safely(() => {
    take($("example").selectedIndex);
    forget();
    return predict();
  }));
  for (const radio of document.querySelectorAll("input[name=label]")) {
    radio.addEventListener("change", safely(() => {
      page.typed = false;
      forget();
      return predict();
    }));
  }
  const again = later(safely(push));
  for (const id of ["eps", "steps"]) {
    $(id).addEventListener("input", () => {
      sliders();
      if (page.pushes) again();
    });
  }
  $("push").addEventListener("click", safely(push));
  $("shown").addEventListener("change", () => page.pushes && showPushes());
  for (const kind of Object.keys(ATTACKS)) {
    $(kind).addEventListener("click", safely(() => change(kind)));
  }
  $("stop").addEventListener("click", () => {
    page.run += 1;
    idle();
    say("Stopped.");
  });
}

function take(place) {
  const { text, label } = page.data.examples[place];
  page.typed = false;
  $("text").value = text;
  document.querySelectorAll("input[name=label]")[label].checked = true;
}

async function start() {
  sliders();
  if (typeof WebAssembly === "undefined") {
    throw new Error("this page needs WebAssembly, which is off in this browser; allow it, or read "
      + "lesson 00 of the course, which shows the same with all its outputs");
  }
  const data = JSON.parse(new TextDecoder().decode(await fetched("data.json")));
  data.groupOf = new Map(data.groups.flatMap((group) => group.map((word) => [word, group])));
  data.keep = new Set(data.keep);
  page.data = data;
  $("example").append(...data.examples.map(({ text }) => make("option", {}, text)));
  take(0);
  const loaded = Object.entries(data.victims).map(([name, about]) => Victim.load(name, about));
  page.victims = await Promise.all(loaded);
  await predict();
  listen();
  for (const id of ["push", "substitutes", "typos"]) $(id).disabled = false;
  say("Both models are ready.");
  performance.mark("ready");
}

safely(start)();
