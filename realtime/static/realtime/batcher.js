/** Many small messages as one `Batch`: fewer frames, each message answered for itself. */

const ITEMS_MAX = 50;

export class MessageBatcher {
  /** Messages wait for `batchSize - 1` others (at most 49), or `batchTimeout` milliseconds. */
  constructor(client, batchSize = 10, batchTimeout = 100) {
    this.client = client;
    this.batchSize = Math.min(batchSize, ITEMS_MAX);
    this.batchTimeout = batchTimeout;
    this.waiting = [];
    this.timer = null;
  }

  /** The promise of this one message's answer. */
  send(type, data, options = {}) {
    const answer = new Promise((resolve, reject) => {
      this.waiting.push({ type, data, options, resolve, reject });
    });
    if (this.waiting.length >= this.batchSize) {
      this.flushBatch();
    } else {
      this.timer ??= this.client.clock.after(this.batchTimeout, () => this.flushBatch());
    }
    return answer;
  }

  publish(topic, payload, options) {
    return this.send("Broadcast", { topic, payload }, options);
  }

  /** Send what waits, now. */
  flushBatch() {
    this.client.clock.cancel(this.timer);
    this.timer = null;
    const batch = {};
    for (const { type, data, options, resolve, reject } of this.waiting.splice(0)) {
      this.client.request(type, data, { ...options, batch }).then(resolve, reject);
    }
    this.client.sender.flush();
  }
}
