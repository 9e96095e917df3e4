// What a program in TypeScript writes: it is compiled, and never run.
import { connect, route, type Gap, type Status } from "../index.js";
const c = connect(() => "ws://x/y", { resume: true, onGap: (gap: Gap) => console.log(gap.missed, gap.fresh, gap.unsure), onStatus: (s: Status) => s.phase });
connect(["ws://x/y", "ws://z/y"]);
const sent: boolean = c.send("x");
const claim = route<void, { ticket: number }>("POST", "/ticket/:name");
claim({ name: "a" }).then(({ value }) => value.ticket.toFixed());
// @ts-expect-error: a gap has a number or null
const wrong: string = ({} as Gap).missed;
