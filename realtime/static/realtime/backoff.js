/** Waiting times that double up to a limit, with jitter so that a crowd of pages spreads out. */

export class Backoff {
  constructor({ firstMs = 500, limitMs = 15_000, random = Math.random } = {}) {
    this.firstMs = firstMs;
    this.limitMs = limitMs;
    this.random = random;
    this.attempt = 0;
  }

  /** Milliseconds to wait before the next attempt: between half and all of the current step. */
  next() {
    const step = Math.min(this.limitMs, this.firstMs * 2 ** this.attempt);
    this.attempt += 1;
    return step / 2 + (this.random() * step) / 2;
  }

  reset() {
    this.attempt = 0;
  }
}
