// Nanoseconds of CPU per event in Node: count + sum by an interned text, 1,000 groups, through every way to emit.
// `node bench/emit.mjs [--check] [--core]`: with --check the goals below decide the exit code; with --core it is the module
// that pages start with.
import { Headwater } from '../dist/node.js';
import { CORE, startHub } from '../test/hub.mjs';

const isCore = process.argv.includes('--core');
/** Of the full module, which Node runs. */
const GOALS = isCore ? {} : { columns: 40 };
const GROUPS = 1000;
const EVENTS = 2_000_000;
const ROUNDS = 5;

const hub = await startHub();
const wasm = isCore ? CORE : undefined;
const hw = Headwater.connect({ url: hub.url, wasm, flushIntervalMs: 1e9, onError: (e) => console.error(e.message) });
hw.emit('views', { url: 'first', ms: 1 });
await hw.flush();
const stream = hw.stream('views');
const urls = Array.from({ length: GROUPS }, (_, i) => `/page/${i}`);
const handles = urls.map((url) => stream.intern(url));
const writer = stream.writer('url', 'ms');

const ids = new Uint32Array(1024);
const values = new Float64Array(1024);
let seed = 1;
const next = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff);
for (let i = 0; i < 1024; i++) {
  ids[i] = handles[next() % GROUPS].id;
  values[i] = (next() % 10_000) / 8;
}
const order = Uint32Array.from({ length: 4096 }, () => next() % GROUPS);

const ways = {
  'emit({ url: string, ms })': (n) => {
    for (let i = 0; i < n; i++) hw.emit('views', { url: urls[order[i & 4095]], ms: i & 1023 });
  },
  'stream.emit({ url: interned, ms })': (n) => {
    for (let i = 0; i < n; i++) stream.emit({ url: handles[order[i & 4095]], ms: i & 1023 });
  },
  'writer.emit(interned, ms)': (n) => {
    for (let i = 0; i < n; i++) writer.emit(handles[order[i & 4095]], i & 1023);
  },
  'columns({ url: ids, ms: doubles })': (n) => {
    for (let i = 0; i < n; i += 1024) stream.columns({ url: ids, ms: values });
  },
};
let failed = false;
for (const [name, run] of Object.entries(ways)) {
  run(200_000);
  await hw.flush();
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    // CPU time, not wall time: the machine may be busy with something else.
    const start = process.cpuUsage();
    run(EVENTS);
    const { user, system } = process.cpuUsage(start);
    rounds.push(((user + system) * 1000) / EVENTS);
    await hw.flush();
  }
  const median = rounds.sort((a, b) => a - b)[ROUNDS >> 1];
  const goal = Object.entries(GOALS).find(([key]) => name.startsWith(key))?.[1];
  const over = goal !== undefined && median > goal;
  failed ||= over;
  console.log(`${name.padEnd(38)} ${median.toFixed(1).padStart(7)} ns/event${goal ? `  goal ${goal}` : ''}${over ? '  MISSED' : ''}`);
}
const stats = await hw.close();
if (stats.delivered !== stats.emitted || hub.events() !== stats.emitted) throw new Error(`lost events: ${JSON.stringify(stats)}`);
await hub.close();
if (failed && process.argv.includes('--check')) process.exit(1);
