/** What can go wrong between this client and the server. None of the texts holds a token. */

export class RealtimeError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** The server's `Error` to one message of ours; `isQueued` when it keeps it for the absent. */
export class Refused extends RealtimeError {
  constructor({ code, message, details = {} }) {
    super(message);
    this.code = code;
    this.details = details;
  }

  get retryAfterMs() {
    return this.details.retry_after_ms ?? 0;
  }

  get isQueued() {
    return this.details.queued === true;
  }
}

/** More waits to be sent than this client keeps. */
export class QueueFull extends RealtimeError {}

/** Larger than the server takes; it was not sent. */
export class TooLarge extends RealtimeError {}

/** No answer came in the time that was given; whether the server has it is not known. */
export class TimedOut extends RealtimeError {}

/** The connection went before the answer came, and sending again might deliver twice. */
export class ConnectionLost extends RealtimeError {}

/** The client was closed, by us or by a server that will not have it. */
export class Stopped extends RealtimeError {}
