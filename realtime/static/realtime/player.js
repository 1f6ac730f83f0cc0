/** A clock for replays: where we are in a recording, at which speed. Draws nothing. */

const GAP_MS = 1000 / 60;
const LONGEST_MS = 24 * 3600 * 1000;

/**
 * When each movement is shown, in milliseconds from the first, never going backwards.
 *
 * Timestamps are the surgeon's own clock: a recording without a usable one is played at
 * sixty movements a second.
 */
export function timesOf(movements) {
  const first = movements.length ? movements[0].timestamp : 0;
  let latest = 0;
  const times = movements.map(({ timestamp }) => {
    latest = Math.max(latest, timestamp - first);
    return latest;
  });
  const isUsable = latest > 0 && latest <= LONGEST_MS;
  return isUsable || movements.length < 2 ? times : times.map((_, index) => index * GAP_MS);
}

export class Player {
  constructor(times = []) {
    this.times = times;
    this.position = 0;
    this.speed = 1;
    this.isPlaying = false;
    this.then = 0;
  }

  get duration() {
    return this.times.at(-1) ?? 0;
  }

  get isAtEnd() {
    return this.position >= this.duration;
  }

  play(now) {
    if (this.isAtEnd) {
      this.position = 0;
    }
    this.then = now;
    this.isPlaying = true;
  }

  pause() {
    this.isPlaying = false;
  }

  seek(position) {
    this.position = Math.min(Math.max(0, position), this.duration);
  }

  /** Advance to `now` (milliseconds of a steady clock); stops at the end. */
  tick(now) {
    if (this.isPlaying) {
      this.seek(this.position + (now - this.then) * this.speed);
      this.then = now;
      this.isPlaying = !this.isAtEnd;
    }
  }

  /** The last movement that is not after the position. */
  get index() {
    let low = 0;
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= this.position) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low - 1;
  }
}
