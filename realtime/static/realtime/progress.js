/** How far we have heard, and what we have had already: where to recover from, and what to drop. */

/** More than a server writes out of order at once, and some hundred kilobytes. */
const REMEMBERED = 10_000;

/** The last so many message ids. */
export class Seen {
  constructor(most = REMEMBERED) {
    this.most = most;
    this.ids = new Set();
  }

  /** Remember an id; answers false when it was known. */
  add(id) {
    if (this.ids.has(id)) {
      return false;
    }
    this.ids.add(id);
    if (this.ids.size > this.most) {
      // A Set keeps the order of arrival: the first is the oldest.
      this.ids.delete(this.ids.values().next().value);
    }
    return true;
  }
}

export class Progress {
  /** `position` is where an earlier client of ours had got to. */
  constructor({ position = null, seen = new Seen() } = {}) {
    this.position = position;
    this.seen = seen;
    this.held = null;
  }

  /** Take note of a message with this metadata; answers false when we had it already. */
  take({ position, message_id: id, recover_from: recoverFrom }) {
    // What was not stored never comes twice, and would push out the ids of what may.
    if (position === undefined || position === null) {
      return true;
    }
    const isNew = id === undefined || this.seen.add(id);
    // What overtook others says up to where everything has come; before the first
    // subscription is confirmed there is nothing yet to be complete about.
    if (this.position !== null) {
      this.#advance(recoverFrom ?? position);
    }
    return isNew;
  }

  /** Begin at the position at which the first subscription was confirmed. */
  anchor(position) {
    this.position ??= position ?? null;
  }

  /** A recovery begins: everything after this position follows, or what there is of it. */
  restart(position) {
    if (this.held !== null) {
      this.held = position;
    } else {
      this.position = position;
    }
  }

  /** Until `release` the position stays: several subscriptions recover one after another. */
  hold() {
    this.held = this.position;
  }

  release() {
    this.position = this.held ?? this.position;
    this.held = null;
  }

  /** Forget what came while it was held: it was not all. */
  abandon() {
    this.held = null;
  }

  #advance(position) {
    if (this.held !== null) {
      this.held = later(this.held, position);
    } else {
      this.position = later(this.position, position);
    }
  }
}

/** The later of two positions, "<epoch>-<n>"; of different epochs the one that came last. */
function later(one, other) {
  const [epoch, n] = parts(one);
  const [itsEpoch, itsN] = parts(other);
  return epoch === itsEpoch && itsN <= n ? one : other;
}

function parts(position) {
  const dash = position.lastIndexOf("-");
  return [position.slice(0, dash), Number(position.slice(dash + 1))];
}
