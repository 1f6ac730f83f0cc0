/** What a client does, line by line, on the console: no payloads, and never a token. */

const LEVELS = ["debug", "info", "warn", "error"];

export class ConnectionDebugger {
  /** Levels: messages of every kind at debug, states at info, gaps at warn, errors at error. */
  constructor(client, { logLevel = "info", write = console.log } = {}) {
    this.enabled = true;
    this.logLevel = logLevel;
    this.write = write;
    client.onTraffic(({ direction, type, size }) => this.log("debug", `${direction} ${type}`, { size }));
    client.onState(({ state, text }) => this.log("info", state, { text }));
    client.onGap((gap) => this.log("warn", "gap", gap));
    client.on("Error", ({ code, message }) => this.log("error", "refused", { code, message }));
  }

  log(level, message, data = null) {
    if (this.enabled && this.shouldLog(level)) {
      const timestamp = new Date().toISOString();
      this.write(`[WebSocket] ${timestamp} ${level.toUpperCase()}: ${message}`, data);
    }
  }

  shouldLog(level) {
    return LEVELS.indexOf(level) >= LEVELS.indexOf(this.logLevel);
  }

  enable() {
    this.enabled = true;
  }

  disable() {
    this.enabled = false;
  }

  setLogLevel(level) {
    this.logLevel = level;
  }
}
