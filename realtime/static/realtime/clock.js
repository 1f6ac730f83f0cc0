/** The time that a client goes by: milliseconds and timers, which a test may replace. */

export const systemClock = {
  now: () => performance.now(),
  after: (ms, work) => setTimeout(work, ms),
  cancel: (timer) => clearTimeout(timer),
};
