/**
 * What lies on the operating table: a kidney, a tumour of 25 fragments, an artery. No drawing.
 *
 * Lengths are scene units: x from -10 (left) to 10, y from -6.5 (bottom) to 6.5, z upwards
 * from the kidney's base. `Field.move` tells what the instrument did, as protocol events.
 */

export const WIDTH = 20;
export const HEIGHT = 13;
export const FRAGMENTS = 25;
export const FRAGMENT_RADIUS = 0.27;
export const TUMOUR = { x: -2.6, y: 1.35, radius: 1.62 };
export const ARTERY = [
  [[11, -1.3], [9, -1.2], [6.6, -0.7], [4.6, 0.1], [2.6, 0.5], [1.0, 1.5], [-0.6, 2.2]],
  [[4.6, 0.1], [3.1, -0.3], [1.9, -1.4], [0.3, -1.6], [-1.4, -2.2]],
].map((points) => smooth(points));
export const ARTERY_RADIUS = 0.22;

const KIDNEY = { x: 0, y: 0.1, a: 6.9, b: 4.1, tilt: 0.12, height: 2.6 };
const HILUM = { angle: -0.05, depth: 0.36, width: 0.55 };

/** How far above the tissue the instrument hovers when it is not pressed down. */
const HOVER = 1.8;

/** A fragment comes off after this much contact; less only loosens it. */
const REMOVAL_MS = 140;

/** Contact is tested at least this often along a stroke: a quick one must not jump over. */
const STEP = 0.12;

/** The kidney's outline in direction `angle`, as a share of its ellipse: 1, less at the hilum. */
function outline(angle) {
  const away = Math.atan2(Math.sin(angle - HILUM.angle), Math.cos(angle - HILUM.angle));
  return 1 - HILUM.depth * Math.exp(-((away / HILUM.width) ** 2));
}

/** 0 at the kidney's centre, 1 on its outline, more outside. */
export function eccentricity(x, y) {
  const [u, v] = [x - KIDNEY.x, y - KIDNEY.y];
  const [cos, sin] = [Math.cos(KIDNEY.tilt), Math.sin(KIDNEY.tilt)];
  const [p, q] = [(u * cos + v * sin) / KIDNEY.a, (v * cos - u * sin) / KIDNEY.b];
  return Math.hypot(p, q) / outline(Math.atan2(q, p));
}

export function kidneyOutline(points = 180) {
  const [cos, sin] = [Math.cos(KIDNEY.tilt), Math.sin(KIDNEY.tilt)];
  return Array.from({ length: points }, (_, index) => {
    const angle = (index / points) * 2 * Math.PI;
    const p = outline(angle) * Math.cos(angle) * KIDNEY.a;
    const q = outline(angle) * Math.sin(angle) * KIDNEY.b;
    return [KIDNEY.x + p * cos - q * sin, KIDNEY.y + p * sin + q * cos];
  });
}

/** Height of the tissue: a dome over the kidney, 0 beside it. */
export function surface(x, y) {
  return KIDNEY.height * Math.sqrt(Math.max(0, 1 - eccentricity(x, y) ** 2));
}

/** A Catmull-Rom curve through the points, as a fine polyline: drawn and felt alike. */
function smooth(points, steps = 10) {
  const at = (index) => points[Math.min(points.length - 1, Math.max(0, index))];
  const curve = points.slice(1).flatMap((_, index) => {
    const [a, b, c, d] = [at(index - 1), at(index), at(index + 1), at(index + 2)];
    return Array.from({ length: steps }, (__, step) => {
      const t = step / steps;
      return [0, 1].map((axis) => 0.5 * (
        2 * b[axis] + (c[axis] - a[axis]) * t
        + (2 * a[axis] - 5 * b[axis] + 4 * c[axis] - d[axis]) * t ** 2
        + (3 * b[axis] - a[axis] - 3 * c[axis] + d[axis]) * t ** 3
      ));
    });
  });
  return [...curve, points.at(-1)];
}

function onArtery(x, y) {
  return ARTERY.some((branch) => branch.some((point, index) => (
    index > 0 && distanceToSegment(x, y, branch[index - 1], point) < ARTERY_RADIUS
  )));
}

function distanceToSegment(x, y, [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy);
  const share = Math.min(1, Math.max(0, along));
  return Math.hypot(x - ax - share * dx, y - ay - share * dy);
}

/** Fragments in a sunflower's pattern: even, round, the same every time. */
function fragments() {
  const golden = Math.PI * (3 - Math.sqrt(5));
  return Array.from({ length: FRAGMENTS }, (_, index) => {
    const reach = (TUMOUR.radius - FRAGMENT_RADIUS / 2) * Math.sqrt((index + 0.5) / FRAGMENTS);
    return {
      x: TUMOUR.x + reach * Math.cos(index * golden),
      y: TUMOUR.y + reach * Math.sin(index * golden),
      touchedMs: 0,
      isTouched: false,
      isRemoved: false,
    };
  });
}

export class Field {
  constructor() {
    this.fragments = fragments();
    this.wounds = [];
    this.scratches = [];
    this.tip = { x: 6, y: -4.5, z: HOVER };
    this.isPressed = false;
    this.press = { kidney: false, artery: false };
    this.events = [];
  }

  get removed() {
    return this.fragments.filter(({ isRemoved }) => isRemoved).length;
  }

  pressDown() {
    this.isPressed = true;
    this.press = { kidney: false, artery: false };
  }

  lift() {
    this.isPressed = false;
  }

  /** Bring the instrument to (x, y) within `elapsedMs`; what it meets goes to `events`. */
  move(x, y, elapsedMs) {
    const from = { ...this.tip };
    const steps = Math.max(1, Math.ceil(Math.hypot(x - from.x, y - from.y) / STEP));
    for (let step = 1; step <= steps && this.isPressed; step += 1) {
      const share = step / steps;
      this.#contact(from.x + (x - from.x) * share, from.y + (y - from.y) * share, elapsedMs / steps);
    }
    const depth = surface(x, y) + (this.isPressed ? 0 : HOVER);
    // The hand needs a moment to come down: heights follow over about 60 ms.
    const follow = 1 - Math.exp(-elapsedMs / 60);
    this.tip = { x, y, z: from.z + (depth - from.z) * follow };
  }

  /** The next thing that happened, or NONE: a frame carries one event. */
  nextEvent() {
    return this.events.shift() ?? "NONE";
  }

  #contact(x, y, elapsedMs) {
    if (onArtery(x, y)) {
      this.#once("artery", "HEMORRHAGE", this.wounds, x, y);
      return;
    }
    const fragment = this.fragments.find((each) => (
      !each.isRemoved && Math.hypot(each.x - x, each.y - y) < FRAGMENT_RADIUS
    ));
    if (fragment) {
      this.#cut(fragment, elapsedMs);
    } else if (eccentricity(x, y) < 1 && Math.hypot(x - TUMOUR.x, y - TUMOUR.y) > TUMOUR.radius) {
      this.#once("kidney", "KIDNEY_TOUCH", this.scratches, x, y);
    }
  }

  #cut(fragment, elapsedMs) {
    if (!fragment.isTouched) {
      fragment.isTouched = true;
      this.events.push("TUMOR_TOUCH");
    }
    fragment.touchedMs += elapsedMs;
    if (fragment.touchedMs >= REMOVAL_MS) {
      fragment.isRemoved = true;
      this.events.push("TUMOR_REMOVAL");
    }
  }

  #once(what, event, places, x, y) {
    if (!this.press[what]) {
      this.press[what] = true;
      places.push({ x, y });
      this.events.push(event);
    }
  }

  /** What a reloaded page needs to go on. */
  snapshot() {
    return {
      touched: this.fragments.map(({ isTouched }) => isTouched),
      removed: this.fragments.map(({ isRemoved }) => isRemoved),
      wounds: this.wounds,
      scratches: this.scratches,
    };
  }

  static restored({ touched, removed, wounds, scratches }) {
    const field = new Field();
    field.fragments.forEach((fragment, index) => {
      fragment.isTouched = touched[index];
      fragment.isRemoved = removed[index];
    });
    field.wounds = wounds;
    field.scratches = scratches;
    return field;
  }
}
