// Train a network, cut a plane through its weights, measure a surface, and print its rows as they are measured.
//
//     npm install && node follow_surface.mjs WORKSPACE
//
// Uses zeromq and @msgpack/msgpack and nothing else; all it knows of the daemon is in protocol.md.

import { readFileSync } from "node:fs";
import { decode, encode } from "@msgpack/msgpack";
import { Dealer, Subscriber } from "zeromq";

const where = JSON.parse(readFileSync(`${process.argv[2]}/daemon.json`, "utf8"));
const commands = new Dealer();
const events = new Subscriber();
commands.connect(where.cmd);
events.connect(where.evt);

const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ulid = () => "01" + Array.from({ length: 24 }, () => letters[Math.floor(Math.random() * 32)]).join("");

async function ask(t, fields) {
  await commands.send(encode({ t, id: ulid(), proto: 1, ...fields }));
  const reply = decode((await commands.receive())[0]);
  if (reply.t === "err") throw new Error(`${reply.code}: ${reply.msg}`);
  return reply.result;
}

// A buffer begins anywhere in memory; a Float32Array wants a multiple of four.
const floats = (raw) => new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));

const [train, plane, surface] = [ulid(), ulid(), ulid()];
events.subscribe("run/", "surface/", `job/${train}/`, `job/${plane}/`, `job/${surface}/`, "hb/");
await events.receive(); // the first heartbeat: every subscription is in effect
await ask("hello", { client: { name: "follow_surface" } });
const axis = { count: 7, lo: -1, hi: 1 };
const specs = [
  [train, { kind: "train", recipe: { model: "resnet20", dataset: "digits", epochs: 1 } }],
  [plane, { kind: "plane", direction: "random", origin: `job:${train}` }],
  [surface, { kind: "surface", plane: `job:${plane}`, grid: { alpha: axis, beta: axis }, limit: 256 }],
];
// "new": work even where the same was asked before; otherwise its result would come at once.
await ask("job.submit", { jobs: specs.map(([job, spec]) => ({ job, spec, on_conflict: "new" })) });
let mine = null;
for await (const [, header, ...buffers] of events) {
  const event = decode(header);
  if (event.t === "run.epoch") {
    console.log(`epoch ${event.epoch}: ${JSON.stringify(event.metrics)}`);
  } else if (event.t === "surface.row" && event.surface === mine) {
    const row = Object.fromEntries(event.bufs.map((b, k) => [b.name, floats(buffers[k])]));
    console.log(`row ${event.i}:`, ...Array.from(row.loss, (loss) => loss.toFixed(3)));
  } else if (event.t === "job.state" && ["failed", "cancelled"].includes(event.state)) {
    throw new Error(`${event.kind} ${event.state}: ${event.error}`);
  } else if (event.t === "job.state" && event.job === surface) {
    mine = event.surface; // known from the job's start
    if (event.state === "done") {
      console.log("surface", mine);
      break;
    }
  }
}
commands.close();
events.close();
