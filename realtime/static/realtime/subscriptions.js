/** What a client wants to hear: asked for on every connection, recovered, and who waits for it. */

import { Refused, Stopped } from "./errors.js";

/** More topics than this a server takes as several messages only. */
const AT_ONCE = 128;

export class Subscriptions {
  /**
   * `subscribe({topics, recover}, id)` sends the message. Told are `onHeld({recovered})` when all
   * of it holds again after a (re)connect, and `onGap(gap)`.
   */
  constructor({ progress, clock, recovers, newId, subscribe, onHeld, onGap }) {
    Object.assign(this, { progress, clock, recovers, newId, subscribe, onHeld, onGap });
    this.wanted = new Set();
    this.isOpen = false;
    // Wanted, and to be asked for with whatever else is in this turn of the event loop.
    this.unasked = new Set();
    // Ids of `Subscribe` messages that are not answered yet, oldest first.
    this.asked = new Map();
    this.waiters = [];
    this.recovered = null;
  }

  /** Want these; the promise of `{topics, refused}`, once all of them are answered. */
  add(topics) {
    for (const topic of topics) {
      this.wanted.add(topic);
      this.unasked.add(topic);
    }
    queueMicrotask(() => this.#askUnasked());
    const promise = new Promise((resolve, reject) => {
      const waiter = { left: new Set(topics), topics: [], refused: [], resolve, reject };
      this.waiters.push(waiter);
      this.#settle(waiter);
    });
    // Whoever does not look at it shall not be troubled by its failure.
    promise.catch(() => {});
    return promise;
  }

  remove(topics) {
    for (const topic of topics) {
      this.wanted.delete(topic);
      this.unasked.delete(topic);
      this.#answered(topic, () => {});
    }
  }

  /**
   * A connection is there: ask for everything, from where we had got to. Our own topic, too:
   * what the server wrote to a connection that was lost it does not send again by itself.
   */
  open(own) {
    this.isOpen = true;
    this.recovered = null;
    this.unasked.clear();
    const since = this.recovers ? this.progress.position : null;
    const pieces = inPieces([...new Set([...this.wanted, ...(this.recovers && own ? [own] : [])])]);
    if (since !== null) {
      // What is told before they are answered, as mail is, does not count: it is not all.
      this.progress.hold();
    }
    pieces.forEach((topics) => this.#ask({ topics, since, isFirst: true }));
    this.#tellWhenHeld();
  }

  /** The connection is gone, and with it what was asked over it. */
  onLost() {
    this.isOpen = false;
    this.asked.clear();
    this.progress.abandon();
  }

  /** The confirmation came: it belongs to the oldest that has none, since they come in order. */
  onConfirmed(details) {
    for (const request of this.asked.values()) {
      if (!request.details) {
        request.details = details;
        return;
      }
    }
  }

  /** The `Ack` of a Subscribe: whatever in it was not refused is heard. Answers whether it is ours. */
  onAck(id) {
    const request = this.#take(id);
    if (!request) {
      return false;
    }
    request.topics.forEach((topic) => this.#answered(topic, (waiter) => waiter.topics.push(topic)));
    this.#takePosition(request);
    if (request.isFirst) {
      this.#tellWhenHeld();
    }
    return true;
  }

  /** The `Error` to a Subscribe, or to one topic of it. Answers whether it is ours. */
  onError(id, data) {
    const request = this.asked.get(id);
    if (!request) {
      return false;
    }
    const { topic, retry_after_ms: wait } = data.details;
    if (topic !== undefined) {
      this.#refuse(request, topic, data);
    } else if (wait) {
      this.clock.after(wait, () => this.#askAgain(id));
    } else if (request.topics.length > 1) {
      // One of them is wrong, and shall not take the others with it.
      this.#take(id);
      request.topics.forEach((each) => this.#ask({ ...request, topics: [each] }));
    } else {
      request.topics.forEach((each) => this.#refuse(request, each, data));
      this.onAck(id);
    }
    return true;
  }

  /** One message was dropped, nobody knows which: ask again for what is not answered by then. */
  onTooFast(wait) {
    const ids = [...this.asked.keys()];
    this.clock.after(wait, () => ids.forEach((id) => this.#askAgain(id)));
  }

  rejectAll(text) {
    this.waiters.splice(0).forEach(({ reject }) => reject(new Stopped(text)));
  }

  #askUnasked() {
    if (this.isOpen) {
      inPieces([...this.unasked]).forEach((topics) => this.#ask({ topics, since: null }));
      this.unasked.clear();
    }
  }

  #ask({ topics, since, isFirst = false }) {
    const id = this.newId();
    this.asked.set(id, { topics, since, isFirst, details: null });
    this.subscribe({ topics, recover: since === null ? undefined : { position: since } }, id);
  }

  #askAgain(id) {
    const request = this.#take(id);
    if (request) {
      this.#ask(request);
    }
  }

  #take(id) {
    const request = this.asked.get(id);
    this.asked.delete(id);
    return request;
  }

  #refuse(request, topic, data) {
    request.topics = request.topics.filter((each) => each !== topic);
    this.wanted.delete(topic);
    this.#answered(topic, (waiter) => waiter.refused.push(new Refused(data)));
  }

  #takePosition({ since, details }) {
    const { position, recovered } = details ?? {};
    if (since === null) {
      this.progress.anchor(position);
    } else if (recovered !== undefined) {
      this.recovered = recovered && this.recovered !== false;
      this.progress.restart(position);
      if (!recovered) {
        this.onGap({ reason: "not_recovered", from: since, to: position });
      }
    }
  }

  #tellWhenHeld() {
    if (![...this.asked.values()].some(({ isFirst }) => isFirst)) {
      this.progress.release();
      this.onHeld({ recovered: this.recovered });
    }
  }

  #answered(topic, note) {
    for (const waiter of [...this.waiters]) {
      if (waiter.left.delete(topic)) {
        note(waiter);
        this.#settle(waiter);
      }
    }
  }

  #settle(waiter) {
    if (waiter.left.size === 0) {
      this.waiters = this.waiters.filter((each) => each !== waiter);
      waiter.resolve({ topics: waiter.topics, refused: waiter.refused });
    }
  }
}

function inPieces(topics) {
  const pieces = [];
  for (let from = 0; from < topics.length; from += AT_ONCE) {
    pieces.push(topics.slice(from, from + AT_ONCE));
  }
  return pieces;
}
