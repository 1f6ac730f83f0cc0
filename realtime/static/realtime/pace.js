/** How fast we may send: below the limit that the server tells, and not at all while it asks to wait. */

/** Of the server's limit: its clock and ours differ, and what we sent may arrive bunched. */
const SHARE = 0.9;

export class Pace {
  /** `perSecond` messages, 0 for as many as there are; `now()` counts milliseconds. */
  constructor({ perSecond = 100, now }) {
    this.now = now;
    this.pausedUntil = -Infinity;
    this.tell(perSecond);
    this.refresh();
  }

  /** Take over the limit that the server told us. */
  tell(perSecond) {
    this.perSecond = perSecond;
    // The server lets a second's worth come at once.
    this.burst = Math.max(1, perSecond / 2);
    this.level = Math.min(this.level ?? this.burst, this.burst);
  }

  /** Begin anew, as the server does with every connection. */
  refresh() {
    this.level = this.burst;
    this.then = this.now();
  }

  /** Send nothing for so long. */
  pause(ms) {
    this.pausedUntil = Math.max(this.pausedUntil, this.now() + ms);
  }

  /** Milliseconds until the next message may leave; 0 is now. */
  wait() {
    const now = this.now();
    const paused = this.pausedUntil - now;
    if (!this.perSecond) {
      return Math.max(0, paused);
    }
    this.#fill(now);
    const rate = (this.perSecond * SHARE) / 1000;
    // Two clocks' rounding must not make us ask again for a millionth of a message.
    const short = this.level > 1 - 1e-6 ? 0 : (1 - this.level) / rate;
    return Math.max(0, paused, short);
  }

  /** Count `number` messages that left, of those too that could not wait: pings, subscriptions. */
  count(number = 1) {
    this.#fill(this.now());
    this.level -= number;
  }

  #fill(now) {
    const rate = (this.perSecond * SHARE) / 1000;
    this.level = Math.min(this.burst, this.level + (now - this.then) * rate);
    this.then = now;
  }
}
