// Attacks on words, as `advlib.attacks` runs them: WordSubstitution(), and of the standard protocol
// Typos(max_changed=0.2, constraints=(KeepWords(),)). Both are greedy and use no gradient.

import { crc32, Random } from "./random.js";
import { margin } from "./victim.js";

const WORD = /[\p{L}\p{N}_'’-]+/gu;
const UNKNOWN = "[UNK]"; // stands for a word that is left out
const TIE = 1e-5; // scores that differ by less are equal

export const words = (text) => text.match(WORD) ?? [];

/** The text with its i-th word replaced by changes.get(i). */
export function replaced(text, changes) {
  let i = 0;
  return text.replace(WORD, (word) => changes.get(i++) ?? word);
}

// ---------------------------------------------------------------------- what a word may become

/** For each word what the world knows to keep the label. groups: lists of words that may replace
 *  one another. */
export function substitutes(text, groups) {
  const found = words(text);
  return found.map((word, i) => {
    const low = word.toLowerCase();
    let others = (groups.get(low) ?? []).filter((other) => other !== low);
    const before = i ? found[i - 1].toLowerCase() : "";
    if (before === "a" || before === "an") others = others.filter((o) => article(o) === before);
    const capital = word[0] !== word[0].toLowerCase();
    return others.map((o) => (capital ? o[0].toUpperCase() + o.slice(1) : o));
  });
}

const article = (word) =>
  /^(?:(?!uni|use|eu|one)[aeiou]|hon(?:est|our)|hour|heir)/i.test(word) ? "an" : "a";

/** For each word its slips: two letters swapped, one dropped, doubled, inserted, taken from the
 *  next key or from another script. keep: words that stay. */
export function typos(text, keep) {
  return words(text).map((word) =>
    keep.has(word.toLowerCase().replaceAll("’", "'")) ? [] : misspellings(word));
}

const PER_KIND = 4;
const ROWS = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
const ALIKE = new Map([..."aceiopsxyj"].map((letter, k) => [letter, [..."асеіорѕхуј"][k]]));
const NEAR = new Map();
ROWS.forEach((keys, row) => [...keys].forEach((key, place) => {
  const around = ROWS.slice(Math.max(0, row - 1), row + 2)
    .map((r) => r.slice(Math.max(0, place - 1), place + 2));
  NEAR.set(key, around.join("").replace(key, ""));
}));

export function misspellings(word) {
  const signs = [...word];
  if (signs.length < 4 || !/^\p{L}+$/u.test(word)) return [];
  const random = new Random(crc32(word));
  const found = [];
  for (const kind of Object.values(SLIPS)) {
    const made = [...new Set(kind(signs))].filter((w) => w !== word && !found.includes(w));
    found.push(...(made.length <= PER_KIND ? made : random.sample(made, PER_KIND)));
  }
  return found;
}

/** Every letter but the first and the last: `make(i)` gives what may stand from i on, and how many
 *  letters that takes the place of. */
function slips(signs, make, last = signs.length - 1) {
  const out = [];
  for (let i = 1; i < last; i++) {
    for (const [some, gone] of make(i)) {
      out.push([...signs.slice(0, i), ...some, ...signs.slice(i + gone)].join(""));
    }
  }
  return out;
}

const near = (sign) => [...(NEAR.get(sign) ?? "")];
const SLIPS = {
  swap: (s) => slips(s, (i) => [[[s[i + 1], s[i]], 2]], s.length - 2),
  drop: (s) => slips(s, () => [[[], 1]]),
  insert: (s) => slips(s, (i) => [s[i], ...near(s[i])].map((c) => [[c], 0])),
  key: (s) => slips(s, (i) => near(s[i]).map((c) => [[c], 1])),
  alike: (s) => slips(s, (i) => (ALIKE.has(s[i]) ? [[[ALIKE.get(s[i])], 1]] : [])),
};

// ---------------------------------------------------------------------- the search

/** Words in the order of their importance; each takes the replacement that helps most, if any does,
 *  until the answer is wrong (the search of TextFooler, Jin et al. 2020).
 *
 *  options: what each word may become. share: of the words that may change. asked: called with
 *  {kind, word, text, logits, score} for each query, in order. stopped: says when to give up. */
export async function greedy(victim, text, label, options, share, asked, stopped = () => false) {
  const queries = async (kind, tries) => {
    const texts = tries.map((changes) => replaced(text, changes));
    const logits = await victim.logits(texts);
    return texts.map((one, k) => {
      const score = margin(logits[k], label);
      const last = [...tries[k]].at(-1);
      asked({ kind, place: last?.[0], word: last?.[1], text: one, logits: logits[k], score });
      count += 1;
      return score;
    });
  };
  let count = 0;
  let changes = new Map();
  let [score] = await queries("first", [changes]);
  const result = () => ({
    text: replaced(text, changes), changes, queries: count, wrongBefore, score,
    success: changes.size > 0 && score >= 0,
  });
  const wrongBefore = score >= 0;
  const most = Math.floor(share * options.length + 1e-9);
  const places = [...options.keys()].filter((i) => most && options[i].length);
  if (wrongBefore) return result();
  const importance = new Map();
  const without = await queries("without", places.map((i) => new Map([[i, UNKNOWN]])));
  places.forEach((i, k) => importance.set(i, without[k]));
  places.sort((a, b) => importance.get(b) - importance.get(a) || a - b);
  for (const i of places) {
    if (score >= 0 || changes.size >= most || stopped()) break;
    const tries = options[i].map((word) => new Map([...changes, [i, word]]));
    const scores = [score, ...(await queries("try", tries))];
    const k = best(scores);
    if (k) [score, changes] = [scores[k], tries[k - 1]];
  }
  return result();
}

/** The place of the largest score; of equal ones the first. */
function best(scores) {
  const top = Math.max(...scores);
  const least = top >= 0 ? Math.max(top - TIE, 0) : top - TIE; // success is no tie with failure
  return scores.findIndex((score) => score >= least);
}
