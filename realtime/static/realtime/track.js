/**
 * The movements of one operation, in order and without holes.
 *
 * Live chunks say how many movements come before them (`offset`). What overlaps is dropped,
 * what lies beyond a hole waits until `refill` brings the stored trajectory.
 */

const WAITING_MAX = 200;

/** Refills after which a hole is accepted: the stored trajectory does not have it either. */
const REFILLS_MAX = 5;

export class Track {
  constructor() {
    this.movements = [];
    this.waiting = [];
    this.refills = 0;
  }

  get length() {
    return this.movements.length;
  }

  get hasHole() {
    return this.waiting.length > 0;
  }

  /** Take a live chunk. Answers the movements that are new and in order, maybe none. */
  take(offset, movements) {
    if (offset > this.length) {
      this.waiting = [...this.waiting, { offset, movements }].slice(-WAITING_MAX);
      return [];
    }
    const fresh = movements.slice(this.length - offset);
    this.movements.push(...fresh);
    return fresh;
  }

  /** Take the stored trajectory from its beginning. Answers what is new, held chunks included. */
  refill(stored) {
    const known = this.length;
    for (let index = known; index < stored.length; index += 1) {
      this.movements.push(stored[index]);
    }
    this.refills += 1;
    this.#takeWaiting();
    if (this.hasHole && this.refills >= REFILLS_MAX) {
      this.waiting[0].offset = this.length;
      this.#takeWaiting();
    }
    if (!this.hasHole) {
      this.refills = 0;
    }
    return this.movements.slice(known);
  }

  #takeWaiting() {
    const held = this.waiting.sort((a, b) => a.offset - b.offset);
    this.waiting = [];
    held.forEach(({ offset, movements }) => this.take(offset, movements));
  }
}

/** Every n-th item so that at most `most` remain, the last one always among them. */
export function thinned(items, most) {
  if (items.length <= most) {
    return items;
  }
  const step = Math.ceil(items.length / most);
  const last = items.length - 1;
  return items.filter((_, index) => index % step === last % step);
}
