/** Counts of what goes over some clients' connections. */

export class ConnectionMonitor {
  constructor() {
    this.connections = new Map();
    this.ended = { connections: 0, durationMs: 0 };
    this.stats = {
      totalConnections: 0,
      activeConnections: 0,
      messagesReceived: 0,
      messagesSent: 0,
      bytesReceived: 0,
      bytesSent: 0,
    };
  }

  addConnection(connectionId, client) {
    const connection = { client, connectedAt: new Date(), messagesReceived: 0, messagesSent: 0 };
    connection.forget = client.onTraffic(({ direction, size }) => {
      const way = direction === "sent" ? "Sent" : "Received";
      connection[`messages${way}`] += 1;
      this.stats[`messages${way}`] += 1;
      this.stats[`bytes${way}`] += size;
    });
    this.connections.set(connectionId, connection);
    this.stats.totalConnections += 1;
    this.stats.activeConnections += 1;
  }

  removeConnection(connectionId) {
    const connection = this.connections.get(connectionId);
    if (connection) {
      connection.forget();
      this.connections.delete(connectionId);
      this.stats.activeConnections -= 1;
      this.ended.connections += 1;
      this.ended.durationMs += Date.now() - connection.connectedAt;
    }
  }

  /** The counts, with averages: the duration in milliseconds, messages both ways. */
  getStats() {
    const open = [...this.connections.values()];
    const { totalConnections: total, messagesReceived, messagesSent } = this.stats;
    const duration = open.reduce(
      (sum, { connectedAt }) => sum + (Date.now() - connectedAt), this.ended.durationMs,
    );
    return {
      ...this.stats,
      averageConnectionDuration: total ? duration / total : 0,
      messagesPerConnection: total ? (messagesReceived + messagesSent) / total : 0,
    };
  }
}
