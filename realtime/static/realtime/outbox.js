/** What we want the server to have: waiting to be sent, or sent and not answered. Bounded. */

import { ConnectionLost, QueueFull } from "./errors.js";

export class Outbox {
  /** At most `most` messages are kept, and `window` of them are under way unanswered. */
  constructor({ most = 1000, window = 128 } = {}) {
    this.most = most;
    this.window = window;
    this.entries = new Map();
    this.underWay = 0;
  }

  get isFull() {
    return this.entries.size >= this.most;
  }

  /**
   * Keep `entry`: `{key, payload, resolve, reject, repeats, batch}`. What has no `resolve`
   * is not answered and leaves once sent; what does not `repeats` is given up when its
   * connection is lost before the answer. Throws QueueFull.
   */
  add(entry) {
    if (this.isFull) {
      throw new QueueFull(`${this.most} messages wait to be sent: try again later`);
    }
    entry.isSent = false;
    this.entries.set(entry.key, entry);
  }

  /** The oldest message that may leave now, and what shall travel with it. */
  next() {
    if (this.underWay >= this.window) {
      return [];
    }
    for (const entry of this.entries.values()) {
      if (!entry.isSent) {
        return entry.batch ? this.#batchOf(entry) : [entry];
      }
    }
    return [];
  }

  #batchOf(first) {
    return [...this.entries.values()].filter(({ isSent, batch }) => !isSent && batch === first.batch);
  }

  sent(entry) {
    if (entry.resolve) {
      entry.isSent = true;
      this.underWay += 1;
    } else {
      this.entries.delete(entry.key);
    }
  }

  /** Take out what was answered; undefined for what nobody waits for any more. */
  take(key) {
    const entry = this.entries.get(key);
    if (entry) {
      this.entries.delete(key);
      this.underWay -= entry.isSent ? 1 : 0;
    }
    return entry;
  }

  /** Send again what the server would not take now. Answers whether it is ours. */
  again(key) {
    const entry = this.entries.get(key);
    if (entry?.isSent) {
      entry.isSent = false;
      this.underWay -= 1;
    }
    return entry !== undefined;
  }

  /** Send again everything that may be. */
  repeatAll() {
    this.entries.forEach(({ key, repeats }) => repeats && this.again(key));
  }

  /** The first that was sent and that `fits` says yes to. */
  find(fits) {
    for (const entry of this.entries.values()) {
      if (entry.isSent && fits(entry)) {
        return entry;
      }
    }
    return undefined;
  }

  /** Take out all that `fits` says yes to. */
  takeAll(fits) {
    return [...this.entries.values()].filter(fits).map(({ key }) => this.take(key));
  }

  /** Everything unanswered is sent again, but for what might then be delivered twice. */
  onLost() {
    this.repeatAll();
    this.takeAll(({ isSent }) => isSent).forEach(({ reject }) => {
      reject(new ConnectionLost("the connection was lost before the answer"));
    });
  }

  /** Give everything up. */
  rejectAll(error) {
    this.takeAll(() => true).forEach(({ reject }) => reject?.(error));
  }
}
