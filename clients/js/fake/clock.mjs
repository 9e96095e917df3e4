// A clock that stands still until the test advances it.
export function clock() {
  let now = 0;
  let next = 1;
  const timers = new Map();
  return {
    now: () => now,
    pending: () => timers.size,
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const due = [...timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
        if (!due) break;
        timers.delete(due[0]);
        now = due[1].at;
        due[1].fn();
      }
      now = end;
    },
    setTimeout: (fn, ms) => (timers.set(next, { fn, at: now + ms }), next++),
    clearTimeout: (id) => timers.delete(id),
  };
}
