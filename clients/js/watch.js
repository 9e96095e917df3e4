// Checks for a lost connection when one is likely: the network changed, the page became visible
// again, or the clock jumped, as after a sleep. Outside of a browser it watches only the clock.

const LOOK = 5000;
const ASLEEP = 20000; // a clock that stood still this long means that the machine slept

/** Probes and retries a connection until the function that it returns is called. */
export function watchWorld(connection) {
  let last = Date.now();
  const slept = () => {
    const gone = Date.now() - last > ASLEEP;
    last = Date.now();
    return gone;
  };
  const wake = (away) => {
    if (connection.status.phase === "waiting") connection.retry();
    connection.probe(away);
  };
  const clock = setInterval(() => slept() && wake(true), LOOK);
  clock.unref?.(); // in node, the timer must not keep the process alive
  const stops = [() => clearInterval(clock)];
  const on = (target, type, fn) => {
    target.addEventListener(type, fn);
    stops.push(() => target.removeEventListener(type, fn));
  };
  if (globalThis.document && globalThis.addEventListener) {
    on(globalThis, "online", () => wake(true));
    on(globalThis, "offline", () => connection.probe(true));
    // A page that is closed does not come back. Without this, its object would wait for it.
    on(globalThis, "pagehide", (e) => !e.persisted && connection.options.resume && connection.close());
    on(document, "visibilitychange", () => !document.hidden && wake(slept()));
  }
  return () => stops.forEach((stop) => stop());
}
