/** Small things every page needs: finding elements, writing text, times and numbers. */

export const find = (selector, root = document) => root.querySelector(selector);

/** Write values into the elements marked `data-field="name"`, always as text. */
export function fill(root, values) {
  for (const [name, value] of Object.entries(values)) {
    for (const element of root.querySelectorAll(`[data-field="${name}"]`)) {
      element.textContent = value ?? "–";
    }
  }
}

export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

export function showLink({ state, text }) {
  const link = find("[data-link]");
  link.dataset.state = state;
  link.textContent = text;
}

const dateTime = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit",
});

/** Milliseconds of an ISO time; one without a zone is UTC, as everything the server writes. */
export function instant(iso) {
  return Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(iso) ? iso : `${iso}Z`);
}

export function showTime(element, iso) {
  if (iso) {
    element.dateTime = iso;
    element.title = iso;
    element.textContent = dateTime.format(instant(iso));
  }
}

/** The server writes UTC; a browser that runs scripts shows its own time zone. */
export function localiseTimes(root = document) {
  root.querySelectorAll("time[datetime]").forEach((time) => showTime(time, time.dateTime));
}

/** 75 -> "1:15", 3700 -> "1:01:40". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) {
    return "–";
  }
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** 75.25 s -> "1:15.2", for where in a recording something is. */
export function exactly(seconds) {
  const tenths = Math.floor(Math.max(0, seconds) * 10);
  return `${duration(tenths / 10)}.${tenths % 10}`;
}

export const count = (number) => new Intl.NumberFormat().format(number);

export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(1));

export const STATUS = {
  in_progress: "In progress",
  completed: "Completed",
  interrupted: "Interrupted",
};

export function showStatus(element, status) {
  element.dataset.status = status;
  element.textContent = STATUS[status] ?? status;
}

/** Run `work` at most once per `ms`, the last call never lost. */
export function throttled(work, ms) {
  let timer = null;
  let last = -Infinity;
  return () => {
    if (timer === null) {
      timer = setTimeout(() => {
        timer = null;
        last = performance.now();
        work();
      }, Math.max(0, last + ms - performance.now()));
    }
  };
}
