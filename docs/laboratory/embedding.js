// FGM, PGD and noise on the embeddings of one text, as `advlib.attacks` computes them with its
// defaults: l2, one budget for the whole text, ε in units of the mean token-embedding norm.

import { crc32, Random } from "./random.js";
import { margin } from "./victim.js";

/** One step of size ε along the gradient (Miyato et al. 2017). */
export const fgm = (victim, ids, label, eps) => climb(victim, ids, label, eps, 1);

/** Projected gradient ascent (Madry et al. 2018), steps of ε, ε/√2, ε/√3, …; the best point. */
export const pgd = (victim, ids, label, eps, steps) => climb(victim, ids, label, eps, steps);

async function climb(victim, ids, label, eps, steps) {
  const radius = checked(victim, ids, eps);
  let delta = new Float32Array(ids.length * victim.hidden);
  const best = new Best();
  for (let step = 0; step < steps; step++) {
    const { logits, gradient } = await victim.pass([ids], [label], delta);
    best.see(delta, logits[0], label);
    const push = onSurface(masked(gradient, victim.hidden), 1);
    const size = radius / Math.sqrt(step + 1);
    delta = projected(delta.map((d, k) => d + size * push[k]), radius);
  }
  const { logits } = await victim.pass([ids], null, delta);
  if (steps === 1) return { delta, logits: logits[0] }; // one point, nothing to choose from
  best.see(delta, logits[0], label);
  return best;
}

/** The worst of some random points on the surface of the same ball: the control. */
export async function noise(victim, ids, label, eps, draws) {
  const radius = checked(victim, ids, eps);
  const best = new Best();
  for (let k = 0; k < draws; k++) {
    const random = new Random(crc32(`${k}/${ids}`));
    const drawn = Float32Array.from({ length: ids.length * victim.hidden }, () => random.normal());
    const delta = onSurface(masked(drawn, victim.hidden), radius);
    const { logits } = await victim.pass([ids], null, delta);
    best.see(delta, logits[0], label);
  }
  return best;
}

/** How far each token is pushed, in units of the mean token-embedding norm. */
export function pushes(victim, delta) {
  const out = [];
  for (let at = 0; at < delta.length; at += victim.hidden) {
    out.push(size(delta.subarray(at, at + victim.hidden)) / victim.unit);
  }
  return out;
}

class Best {
  margin = -Infinity;

  see(delta, logits, label) {
    const found = margin(logits, label);
    if (found > this.margin) Object.assign(this, { delta, logits, margin: found });
  }
}

/** The radius. Throws where there is nothing to push, and where δ could erase the text. */
function checked(victim, ids, eps) {
  const norms = ids.slice(1, -1).map((id) => victim.norms[id]);
  if (!norms.length) throw new RangeError("there is no token to push: type a sentence");
  const largest = size(norms);
  if (eps * victim.unit > largest) {
    const most = (largest / victim.unit).toFixed(2);
    throw new RangeError(`ε = ${eps} could erase so short a text: take ε below ${most}`);
  }
  return eps * victim.unit;
}

function size(values) {
  let sum = 0;
  for (const v of values) sum += v * v;
  return Math.sqrt(sum);
}

/** The values without those of [CLS] and [SEP], which nobody may push. */
function masked(values, hidden) {
  return values.map((v, k) => (k < hidden || k >= values.length - hidden ? 0 : v));
}

function onSurface(values, radius) {
  const length = size(values);
  return values.map((v) => (length > 0 ? (radius * v) / length : 0));
}

function projected(delta, radius) {
  const factor = radius / Math.max(size(delta), radius);
  return delta.map((d) => d * factor);
}
