// The victims' WordPiece tokenizers, as their tokenizer.json describes them: normaliser, BERT's
// cutting at spaces and punctuation, then the longest pieces that the vocabulary knows.

const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\ufffd]/u;
const SPACE = /\p{White_Space}/u;
const IDEOGRAPH = new RegExp(
  "[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}" +
    "\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]", "u");
const PUNCTUATION = /[\p{P}$+<=>^`|~]/u;

const STEPS = {
  NFKC: () => (text) => text.normalize("NFKC"),
  Replace: (step) => (text) => text.replaceAll(step.pattern.String, step.content),
  Sequence: (step) => {
    const steps = step.normalizers.map(normalizer);
    return (text) => steps.reduce((now, one) => one(now), text);
  },
  BertNormalizer: () => (text) => {
    let clean = "";
    for (const c of text) {
      if (SPACE.test(c) && (!CONTROL.test(c) || "\t\n\r".includes(c))) clean += " ";
      else if (IDEOGRAPH.test(c)) clean += ` ${c} `;
      else if (!CONTROL.test(c)) clean += c;
    }
    const bare = clean.normalize("NFD").replace(/\p{Mn}/gu, "");
    return Array.from(bare, (c) => c.toLowerCase()).join("");
  },
};

function normalizer(step) {
  if (!(step.type in STEPS)) throw new Error(`a normaliser of kind ${step.type} is not known here`);
  return STEPS[step.type](step);
}

export class Tokenizer {
  /** json: a tokenizer.json with a WordPiece model. longest: how many tokens a text may have. */
  constructor(json, longest) {
    this.vocabulary = new Map(Object.entries(json.model.vocab));
    this.words = [];
    for (const [token, id] of this.vocabulary) this.words[id] = token;
    this.normalize = normalizer(json.normalizer);
    const names = json.added_tokens.map((token) => token.content.replace(/[[\]]/g, "\\$&"));
    this.marks = new RegExp(`(${names.join("|")})`);
    this.longest = longest;
  }

  /** The token ids of a text, [CLS] first and [SEP] last. */
  encode(text) {
    const ids = [];
    text.split(this.marks).forEach((part, k) => {
      if (k % 2) ids.push(this.vocabulary.get(part));
      else for (const word of split(this.normalize(part))) ids.push(...this.#pieces(word));
    });
    const [first, last] = ["[CLS]", "[SEP]"].map((token) => this.vocabulary.get(token));
    return [first, ...ids.slice(0, this.longest - 2), last];
  }

  #pieces(word) {
    const signs = Array.from(word);
    const unknown = [this.vocabulary.get("[UNK]")];
    if (signs.length > 100) return unknown;
    const found = [];
    for (let start = 0, end; start < signs.length; start = end) {
      let id;
      for (end = signs.length; end > start && id === undefined; end--) {
        id = this.vocabulary.get((start ? "##" : "") + signs.slice(start, end).join(""));
      }
      if (id === undefined) return unknown;
      end += 1;
      found.push(id);
    }
    return found;
  }
}

/** Words and signs of punctuation. */
function split(text) {
  const out = [];
  for (const chunk of text.split(/\p{White_Space}+/u)) {
    let word = "";
    for (const c of chunk) {
      if (PUNCTUATION.test(c)) {
        if (word) out.push(word);
        out.push(c);
        word = "";
      } else word += c;
    }
    if (word) out.push(word);
  }
  return out;
}
