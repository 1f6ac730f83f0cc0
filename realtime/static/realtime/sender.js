/** What goes out: kept until it is answered, below the server's limits, sent again when need be. */

import { Refused, TimedOut, TooLarge } from "./errors.js";

/** Above this much that the network has not taken we wait: the rest is safe in the outbox. */
const BUFFERED_MAX = 1 << 20;
const BUFFERED_MS = 20;

const BATCH_HEAD = '{"type":"Batch","data":{"messages":[';
const BATCH_TAIL = "]}}";

export class Sender {
  /** `write(type, payload)` answers whether it left; `messageBytes` is the server's limit. */
  constructor({ link, write, outbox, pace, clock, messageBytes }) {
    Object.assign(this, { link, write, outbox, pace, clock, messageBytes });
    this.isLive = false;
    this.pumping = null;
  }

  /**
   * Send until it is answered: `{key, type, payload, answer, repeats, batch}` as of Outbox, which
   * `onAnswer` finds again. What is of a `batch` waits for `flush`, to leave with the others. Rejected with Refused, TooLarge, QueueFull, TimedOut, Stopped, and
   * with ConnectionLost what does not repeat.
   */
  keep({ timeoutMs, ...entry }) {
    return new Promise((resolve, reject) => {
      const size = sizeOf(entry.payload);
      if (size > this.messageBytes) {
        throw tooLarge(this.messageBytes);
      }
      let timer;
      const ending = (end) => (value) => {
        this.clock.cancel(timer);
        end(value);
      };
      this.outbox.add({ ...entry, size, resolve: ending(resolve), reject: ending(reject) });
      if (timeoutMs) {
        timer = this.clock.after(timeoutMs, () => {
          this.outbox.take(entry.key)?.reject(new TimedOut(`no answer in ${timeoutMs} ms`));
        });
      }
      if (!entry.batch) {
        this.flush();
      }
    });
  }

  /** Send once, now or when we may; answers false when there is no room for it. */
  post(entry) {
    const size = sizeOf(entry.payload);
    if (size > this.messageBytes || this.outbox.isFull) {
      return false;
    }
    this.outbox.add({ ...entry, size });
    this.flush();
    return true;
  }

  /** Send ahead of everything else what the connection itself needs. */
  now(type, data, id) {
    const left = this.write(type, JSON.stringify({ type, data, id }));
    this.pace.count(left ? 1 : 0);
    return left;
  }

  /** From now on what is kept may leave. */
  start() {
    this.isLive = true;
    this.flush();
  }

  /** The connection is gone. */
  stop() {
    this.isLive = false;
    this.clock.cancel(this.pumping);
    this.pumping = null;
    this.outbox.onLost();
  }

  /** The answer to whichever `fits` first. */
  onAnswer(fits, value) {
    const entry = this.outbox.find(fits);
    if (entry) {
      this.outbox.take(entry.key).resolve(value);
      this.flush();
    }
  }

  /** The server's limits: messages a second, and bytes of one; 0 is none. */
  tellLimits({ messages_per_second: perSecond, message_bytes: bytes }) {
    this.pace.tell(perSecond ?? this.pace.perSecond);
    this.messageBytes = bytes === 0 ? Infinity : bytes ?? this.messageBytes;
  }

  /** The `Error` to one of ours: final, or to be tried again after a while. */
  onRefused(id, data) {
    const { retry_after_ms: wait, limit } = data.details;
    if (data.code === 429 && limit) {
      this.pace.tell(limit);
    }
    if (wait && this.outbox.again(id)) {
      this.pace.pause(wait);
    } else {
      this.outbox.take(id)?.reject(new Refused(data));
    }
    this.flush();
  }

  /** Something was dropped, nobody knows what: everything unanswered goes again. */
  onTooFast(wait, limit) {
    this.pace.pause(wait);
    if (limit) {
      this.pace.tell(limit);
    }
    this.outbox.repeatAll();
    this.outbox.again(this.#oldestBinary()?.key);
    this.flush();
  }

  /** An `Error` that names no message: a binary one has no name, and they are answered in order. */
  onRefusedUnnamed(data) {
    const { limit, used } = data.details ?? {};
    const isLarge = ({ size }) => data.code === 413 && used === undefined && size > limit;
    const large = this.outbox.takeAll(isLarge);
    if (large.length) {
      this.messageBytes = limit;
      large.forEach((entry) => entry.reject?.(tooLarge(limit)));
    } else {
      this.outbox.take(this.#oldestBinary()?.key)?.reject(new Refused(data));
    }
    this.flush();
  }

  #oldestBinary() {
    return this.outbox.find(({ kind }) => kind !== undefined);
  }

  /** Send what may leave now, and come back for the rest. */
  flush() {
    while (this.isLive) {
      const entries = this.outbox.next();
      if (!entries.length) {
        return;
      }
      const wait = this.link.buffered > BUFFERED_MAX ? BUFFERED_MS : this.pace.wait();
      if (wait > 0) {
        this.pumping ??= this.clock.after(wait, () => {
          this.pumping = null;
          this.flush();
        });
        return;
      }
      if (!this.#transmit(fittingInto(entries, this.messageBytes))) {
        return;
      }
    }
  }

  #transmit(entries) {
    const [{ type, payload }] = entries;
    const isBatch = entries.length > 1;
    const left = this.write(isBatch ? "Batch" : type, isBatch ? batchOf(entries) : payload);
    if (left) {
      this.pace.count(entries.length);
      entries.forEach((entry) => this.outbox.sent(entry));
    }
    return left;
  }
}

/** Bytes of what is sent: text goes as UTF-8. */
export function sizeOf(payload) {
  return typeof payload === "string" ? new TextEncoder().encode(payload).length : payload.byteLength;
}

const tooLarge = (limit) => new TooLarge(`a message has at most ${limit} bytes`);

const batchOf = (entries) => BATCH_HEAD + entries.map(({ payload }) => payload).join(",") + BATCH_TAIL;

/** As many of the first as one message holds; at least one. */
function fittingInto(entries, bytes) {
  let size = BATCH_HEAD.length + BATCH_TAIL.length;
  const end = entries.findIndex((entry) => (size += entry.size + 1) > bytes);
  return end === -1 ? entries : entries.slice(0, Math.max(1, end));
}
