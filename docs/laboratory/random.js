// Python's random numbers: `random.Random(seed).sample`, and a checksum. Typos are chosen with
// them, so the same slips are tried here as by the library.

/** zlib.crc32 of a text in UTF-8. */
export function crc32(text) {
  let sum = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) {
    sum ^= byte;
    for (let k = 0; k < 8; k++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}

const N = 624;

/** The Mersenne Twister, seeded as Python seeds it with a whole number below 2^32. */
export class Random {
  constructor(seed) {
    const state = new Uint32Array(N);
    state[0] = 19650218;
    for (let i = 1; i < N; i++) {
      state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    }
    let i = 1;
    const mixed = (factor) => Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), factor);
    const next = () => {
      if (++i >= N) {
        state[0] = state[N - 1];
        i = 1;
      }
    };
    for (let k = 0; k < N; k++, next()) state[i] = (state[i] ^ mixed(1664525)) + seed;
    for (let k = 0; k < N - 1; k++, next()) state[i] = (state[i] ^ mixed(1566083941)) - i;
    state[0] = 0x80000000;
    this.state = state;
    this.at = N;
  }

  #twist() {
    const s = this.state;
    for (let k = 0; k < N; k++) {
      const y = (s[k] & 0x80000000) | (s[(k + 1) % N] & 0x7fffffff);
      s[k] = s[(k + 397) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }

  /** A whole number, 0 to 2^bits - 1. */
  bits(bits) {
    if (this.at >= N) this.#twist();
    let y = this.state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> (32 - bits);
  }

  /** A whole number below n. */
  below(n) {
    const bits = 32 - Math.clz32(n);
    for (;;) {
      const drawn = this.bits(bits);
      if (drawn < n) return drawn;
    }
  }

  /** `count` of the items, at most five, without putting any back. */
  sample(items, count) {
    const chosen = [];
    if (items.length <= 21) {
      const pool = [...items];
      for (let i = 0; i < count; i++) {
        const j = this.below(pool.length - i);
        chosen.push(pool[j]);
        pool[j] = pool[pool.length - i - 1];
      }
      return chosen;
    }
    const seen = new Set();
    while (chosen.length < count) {
      const j = this.below(items.length);
      if (seen.has(j)) continue;
      seen.add(j);
      chosen.push(items[j]);
    }
    return chosen;
  }

  /** A standard normal number (Box and Muller 1958). */
  normal() {
    const u = (this.bits(32) + 1) / 4294967297;
    const v = this.bits(32) / 4294967296;
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  }
}
