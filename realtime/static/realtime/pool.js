/** Several connections for one that publishes more than one connection may. */

export class ConnectionPool {
  /** `open()` answers a new client that was told to connect; there are at most so many. */
  constructor(open, maxConnections = 5) {
    this.open = open;
    this.maxConnections = maxConnections;
    this.connections = [];
    this.currentIndex = 0;
  }

  /** A new client while there are few, then one after the other. Order holds within one only. */
  getConnection() {
    if (this.connections.length < this.maxConnections) {
      this.connections.push(this.open());
      return this.connections.at(-1);
    }
    const client = this.connections[this.currentIndex];
    this.currentIndex = (this.currentIndex + 1) % this.connections.length;
    return client;
  }

  publish(topic, payload, options) {
    return this.getConnection().publish(topic, payload, options);
  }

  close() {
    this.connections.splice(0).forEach((client) => client.close());
    this.currentIndex = 0;
  }
}
