// A victim: a model with its backward pass (`advlib export --gradient`) and its tokenizer. The
// file of the export is cut into its weights and two graphs that read them, with and without the
// backward pass, for a word attack needs none.

import { Tokenizer } from "./tokenizer.js";

const AT_ONCE = 16; // texts in a pass
let busy = Promise.resolve(); // one pass at a time

/** The file's bytes, unpacked where they are packed. */
export async function fetched(url) {
  const answer = await fetch(new URL(url, import.meta.url));
  if (!answer.ok) {
    throw new Error(`${url} could not be loaded (${answer.status}); “make laboratory” puts all that `
      + "this page needs into build/laboratory");
  }
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes; // the server has unpacked it
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

let ort; // ONNX Runtime: one thread, from this folder

async function ready() {
  const [bytes, module] = await Promise.all([fetched("ort.wasm.gz"), import("./ort.mjs")]);
  module.env.wasm.numThreads = 1;
  module.env.wasm.wasmBinary = bytes.buffer;
  ort = module;
}

let runtime;

/** Do it when all that was asked for before is done. */
function inTurn(action) {
  const done = busy.then(action);
  busy = done.catch(() => {});
  return done;
}

export class Victim {
  /** about: labels, longest, hidden, unit (the mean norm of a token embedding) and norms, one a
   *  token. */
  static async load(name, about) {
    runtime ??= ready();
    const files = [`${name}.weights.gz`, `${name}.tokenizer.json`].map(fetched);
    const [weights, tokenizer] = await Promise.all([...files, runtime]);
    const json = JSON.parse(new TextDecoder().decode(tokenizer));
    const victim = Object.assign(new Victim(), about, { name, weights, graphs: {} });
    victim.tokenizer = new Tokenizer(json, about.longest);
    return victim;
  }

  /** One of its two graphs, "logits" or "gradient", which has its backward pass too. */
  #graph(kind) {
    this.graphs[kind] ??= fetched(`${this.name}.${kind}.onnx.gz`).then((graph) => inTurn(() =>
      ort.InferenceSession.create(graph, {
        executionProviders: ["wasm"],
        externalData: [{ path: `${this.name}.weights`, data: this.weights }],
      })));
    return this.graphs[kind];
  }

  /** One pass over texts of one length: logits and, with a label for each and a δ, the gradient on
   *  δ of the log-odds of a wrong answer. ids: one array a text. delta: Float32Array. */
  async pass(ids, labels = null, delta = null) {
    const session = await this.#graph(labels ? "gradient" : "logits");
    const [batch, tokens, classes] = [ids.length, ids[0].length, this.labels.length];
    const whole = (values) => BigInt64Array.from(values, BigInt);
    const tensor = (kind, values, ...shape) => new ort.Tensor(kind, values, [batch, ...shape]);
    const moved = delta ?? new Float32Array(batch * tokens * this.hidden);
    const given = {
      delta: tensor("float32", moved, tokens, this.hidden),
      input_ids: tensor("int64", whole(ids.flat()), tokens),
      token_type_ids: tensor("int64", new BigInt64Array(batch * tokens), tokens),
      attention_mask: tensor("int64", new BigInt64Array(batch * tokens).fill(1n), tokens),
    };
    if (labels) given.labels = tensor("int64", whole(labels));
    const { logits, gradient } = await inTurn(() => session.run(given));
    const rows = ids.map((_, i) => logits.data.slice(i * classes, (i + 1) * classes));
    return { logits: rows, gradient: gradient?.data };
  }

  /** The logits of each text. Texts of one length go together, so nothing is padded. */
  async logits(texts) {
    const found = new Array(texts.length);
    const lengths = new Map();
    const ids = texts.map((text) => this.tokenizer.encode(text));
    ids.forEach((one, i) => {
      if (!lengths.has(one.length)) lengths.set(one.length, []);
      lengths.get(one.length).push(i);
    });
    for (const places of lengths.values()) {
      for (let k = 0; k < places.length; k += AT_ONCE) {
        const some = places.slice(k, k + AT_ONCE);
        const { logits } = await this.pass(some.map((i) => ids[i]));
        some.forEach((i, row) => (found[i] = logits[row]));
        await new Promise((resolve) => setTimeout(resolve)); // let the page answer in between
      }
    }
    return found;
  }
}

/** Probabilities of logits. */
export function softmax(logits) {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (z) => Math.exp(z - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((p) => p / sum);
}

/** The best other logit minus that of the label: at least 0 exactly where the answer is wrong. */
export function margin(logits, label) {
  const others = Array.from(logits).filter((_, k) => k !== label);
  return Math.fround(Math.max(...others) - logits[label]);
}
