/** The metrics of an operation in words, with their units. Lengths are scene units (u). */

const METRICS = {
  score: ["Reference score", 1, ""],
  economy: ["Economy of movement", 2, "×"],
  precision: ["Path precision", 1, "%"],
  tumorProgress: ["Tumour removed", 0, "%"],
  pathLength: ["Path length", 1, "u"],
  meanSpeed: ["Mean speed", 2, "u/s"],
  maxAcceleration: ["Peak acceleration", 0, "u/s²"],
  meanJerk: ["Mean jerk", 0, "u/s³"],
  meanDeviation: ["Mean deviation", 2, "u"],
  idleSeconds: ["Idle time", 1, "s"],
  sparc: ["Smoothness (SPARC)", 2, ""],
  logDimensionlessJerk: ["Log dimensionless jerk", 2, ""],
};

/** Pairs of title and text, in the order above; what is undefined is a dash. */
export function described(metrics) {
  return Object.entries(METRICS)
    .filter(([key]) => key in metrics)
    .map(([key, [title, digits, unit]]) => [title, figure(metrics[key], digits, unit)]);
}

function figure(value, digits, unit) {
  if (value === null) {
    return "–";
  }
  const number = new Intl.NumberFormat(undefined, {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  }).format(value);
  return unit ? `${number} ${unit}` : number;
}
