// A hub in memory over node:http, with faults: what it counts is what a real one would.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { DROPS, KIND, VIEWS, ack, clockReply, countAndSum, plans, readBatch, readFrame, readHello, readPayload, readResume, refused, resumed, welcome } from './wire.mjs';

const ROUTES = { [KIND.hello]: '/v1/session', [KIND.resume]: '/v1/resume', [KIND.batch]: '/v1/batch', [KIND.clockRequest]: '/v1/clock' };

/** Option `wasm` of a client that starts with the small module, as pages do. */
export const CORE = { core: () => readFile(new URL('../dist/headwater_core.wasm', import.meta.url)) };

/** Resolves when `done()` is true; rejects, with what was waited for, when that takes 10 s. */
export async function until(what, done) {
  const start = performance.now();
  while (!done()) {
    if (performance.now() - start > 10_000) throw new Error(`still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Starts a fake hub. `faults(request)` may return `lose` (not handled), `lose_answer` (handled), `twice`, a frame, or nothing. */
export async function startHub({ faults = () => undefined, streams = [{ schema: VIEWS, plans: [countAndSum()] }] } = {}) {
  const hub = {
    streams, catalog: 1, hellos: [], batches: new Map(), producers: new Map(), duplicates: 0, requests: 0, conflicts: 0,
    sql: [], watchers: new Set(), clockSkewMicros: 0n,
    /** How many of the next watches nobody answers, as behind a network that loses everything. */
    deafTo: 0,
  };
  const time = () => BigInt(Date.now()) * 1000n + hub.clockSkewMicros;
  const known = (names) => ({
    streams: hub.streams.filter(({ schema }) => names.includes(schema.name)),
    unknown: names.filter((name) => !hub.streams.some(({ schema }) => schema.name === name)),
  });
  const handlers = {
    [KIND.hello](body) {
      const hello = readHello(body);
      hub.hellos.push(hello);
      return welcome({ catalog: hub.catalog, frameBytesMax: hub.frameBytesMax, time: time(), ...known(hello.streams) });
    },
    [KIND.batch](body) {
      const batch = readBatch(body);
      const dot = `${batch.pid}/${batch.seq}`;
      const held = hub.batches.get(dot);
      if (held) {
        hub.duplicates++;
        if (Buffer.compare(held.payload, batch.payload) !== 0) {
          hub.conflicts++;
          return refused({ ...batch, code: 'dot_conflict' });
        }
      } else hub.batches.set(dot, { ...batch, payload: batch.payload.slice(), report: readPayload(batch.payload) });
      return ack(batch);
    },
    [KIND.clockRequest]: (body) => clockReply({ sent: body, time: time() }),
    [KIND.resume](body) {
      const { pid, lowWater } = readResume(body);
      let bitmap = 0n;
      for (let i = 0n; i < 64n; i++) if (hub.batches.has(`${pid}/${BigInt(lowWater) + i}`)) bitmap |= 1n << i;
      return resumed({ pid, floor: lowWater - 1, bitmap });
    },
  };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => void answer(request, response, new Uint8Array(Buffer.concat(chunks))));
  });

  async function answer(request, response, bytes) {
    hub.requests++;
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-allow-headers', '*');
    if (request.method === 'OPTIONS') return response.end();
    if (request.url === '/v1/sql') {
      hub.sql.push({ body: Buffer.from(bytes).toString(), headers: request.headers });
      const { status = 200, body } = hub.onSql(JSON.parse(Buffer.from(bytes).toString()));
      response.writeHead(status, { 'content-type': 'application/json' });
      return response.end(JSON.stringify(body));
    }
    if (request.url === '/v1/watch') return watch(response, bytes);
    const { kind, body } = readFrame(bytes);
    if (request.url !== ROUTES[kind]) {
      response.writeHead(404);
      return response.end();
    }
    const fault = faults({ kind, body, path: request.url, hub });
    if (fault === 'lose') return request.socket.destroy();
    if (fault instanceof Uint8Array) return response.end(fault);
    if (typeof fault === 'object' && fault.status) {
      response.writeHead(fault.status, fault.headers ?? {});
      return response.end(fault.body ?? '');
    }
    if (fault === 'twice') handlers[kind](body);
    const reply = handlers[kind](body);
    if (fault === 'lose_answer') return request.socket.destroy();
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    response.end(reply);
  }

  function watch(response, bytes) {
    if (hub.deafTo > 0) return void hub.deafTo--;
    const { body, rest } = readFrame(bytes);
    const names = readHello(body).streams;
    const tell = () => {
      hub.watchers.delete(tell);
      response.end(plans({ catalog: hub.catalog, ...known(names) }));
    };
    if (rest[0] < hub.catalog) return tell();
    hub.watchers.add(tell);
    response.on('close', () => hub.watchers.delete(tell));
  }

  /** Changes the catalog and tells the watchers. */
  hub.change = (next) => {
    hub.catalog++;
    hub.streams = next;
    for (const tell of [...hub.watchers]) tell();
  };
  /** Events that the held batches stand for. */
  hub.events = () => [...hub.batches.values()].reduce((sum, { report }) => sum + report.events, 0);
  /** Events that reached a view. */
  hub.viewEvents = (view) =>
    [...hub.batches.values()].flatMap(({ report }) => report.sections).filter((s) => s.view === view).reduce((sum, s) => sum + s.events, 0);
  /** Events that producers reported as dropped, by reason. */
  hub.dropped = () => {
    const sums = {};
    for (const { report } of hub.batches.values()) {
      for (const [tag, events] of report.dropped) sums[DROPS[tag]] = (sums[DROPS[tag]] ?? 0) + events;
    }
    return sums;
  };
  hub.onSql = () => ({ body: { columns: [], rows: [] } });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  hub.url = `http://127.0.0.1:${server.address().port}`;
  hub.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return hub;
}
