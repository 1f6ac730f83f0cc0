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

const day = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
const FORMATS = {
  today: new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }),
  thisYear: new Intl.DateTimeFormat(undefined, day),
  earlier: new Intl.DateTimeFormat(undefined, { ...day, year: "numeric" }),
};

/** As much of a time as it takes to know which one is meant; the whole of it is its title. */
function written(time) {
  const now = new Date();
  if (time.toDateString() === now.toDateString()) {
    return FORMATS.today.format(time);
  }
  return FORMATS[time.getFullYear() === now.getFullYear() ? "thisYear" : "earlier"].format(time);
}

/** Milliseconds of an ISO time; one without a zone is UTC, as everything the server writes. */
export function instant(iso) {
  return Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(iso) ? iso : `${iso}Z`);
}

export function showTime(element, iso) {
  if (iso) {
    element.dateTime = iso;
    element.title = iso;
    element.textContent = written(new Date(instant(iso)));
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

const plain = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });

/** 21.534 -> "21.53"; very large and very small values with an exponent. */
export function figure(value) {
  const size = Math.abs(value);
  const fits = size === 0 || (size >= 0.01 && size < 1e9);
  return fits ? plain.format(value) : String(Number(value.toPrecision(3)));
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

/** Tell whether one position of the journal, "<epoch>-<n>", comes before another of its epoch. */
export function isBefore(one, other) {
  const [, epoch, n] = /^(.*)-(\d+)$/.exec(other ?? "") ?? [];
  const [, itsEpoch, itsN] = /^(.*)-(\d+)$/.exec(one ?? "") ?? [];
  return epoch !== undefined && epoch === itsEpoch && Number(itsN) < Number(n);
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
