/** The server over HTTP: short-lived tokens for sockets and REST, and the pages' own JSON. */

const SURGERIES = "/api/v1/surgeries";
const MARGIN_MS = 60_000;

/** The session is gone, or may not do this: asking again does not help, signing in does. */
export class SignedOut extends Error {
  isFinal = true;
}

export class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function socketUrl(path, parameters) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams(parameters).toString();
  return url.href;
}

/** Tokens of a few minutes, bought with the session cookie, which no socket ever carries. */
export class Tokens {
  constructor(url) {
    this.url = url;
    this.token = null;
    this.expiresAt = 0;
  }

  /** A token that is good for at least another minute. */
  async current() {
    if (this.expiresAt - Date.now() < MARGIN_MS) {
      await this.renewed();
    }
    return this.token;
  }

  /** A new `{token, lifetimeMs}`. Throws SignedOut. */
  async renewed() {
    const askedAt = Date.now();
    const answer = await fetch(this.url, {
      method: "POST",
      headers: { "X-CSRFToken": cookie("csrftoken"), Accept: "application/json" },
    });
    if (answer.status === 401 || answer.status === 403) {
      throw new SignedOut("Signed out: sign in again");
    }
    if (!answer.ok) {
      throw new HttpError(answer.status, "No token could be issued.");
    }
    const { token, expires_in: lifetime } = await answer.json();
    const lifetimeMs = lifetime * 1000;
    this.token = token;
    this.expiresAt = askedAt + lifetimeMs;
    return { token, lifetimeMs };
  }
}

/** The REST interface that clients of every kind use, read with a token. */
export class Surgeries {
  constructor(tokens) {
    this.tokens = tokens;
  }

  trajectory(id) {
    return this.read(`${SURGERIES}/${id}/trajectory`);
  }

  metrics(id) {
    return this.read(`${SURGERIES}/${id}/metrics`);
  }

  async read(path) {
    // Without cookies: a token cookie of another user would win over the header.
    const answer = await fetch(path, {
      credentials: "omit",
      headers: { Authorization: `Bearer ${await this.tokens.current()}` },
    });
    if (!answer.ok) {
      throw new HttpError(answer.status, `${path} answered ${answer.status}.`);
    }
    return answer.json();
  }
}

/** JSON of the dashboard itself, read with the session. Throws SignedOut. */
export async function readJson(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (answer.status === 401) {
    throw new SignedOut("Your session has ended.");
  }
  if (!answer.ok) {
    throw new HttpError(answer.status, `${url} answered ${answer.status}.`);
  }
  return answer.json();
}

/** Do something with the session; answers what became of it. Throws SignedOut, HttpError. */
export async function postJson(url) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "X-CSRFToken": cookie("csrftoken"), Accept: "application/json" },
  });
  if (answer.status === 401) {
    throw new SignedOut("Your session has ended.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new HttpError(answer.status, body.error ?? `${url} answered ${answer.status}.`);
  }
  return body;
}

function cookie(name) {
  const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}
