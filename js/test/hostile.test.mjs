// A hub, or what stands before it, that answers wrongly: no client spins, stops for long or buffers without end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Headwater, HeadwaterError } from '../dist/node.js';
import { engine } from './engine.mjs';
import { CORE, startHub, until } from './hub.mjs';
import { plans, welcome } from './wire.mjs';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A client whose requests `answer` may answer in place of the hub. */
async function run(answer, body) {
  const hub = await startHub();
  const errors = [];
  const asked = {};
  const fetch = (url, options) => {
    const { pathname } = new URL(url);
    asked[pathname] = (asked[pathname] ?? 0) + 1;
    return Promise.resolve(answer(pathname, options) ?? globalThis.fetch(url, options));
  };
  const hw = Headwater.connect({ url: hub.url, wasm: CORE, fetch, flushIntervalMs: 20, onError: (error) => errors.push(error) });
  try {
    await body({ hub, hw, errors, asked });
  } finally {
    await hw.close({ timeoutMs: 1 });
    await hub.close();
  }
}

// Prevents: one header with a time beyond 2^31 ms made a loop, one below it silence for weeks.
test('Retry-After holds back for a minute at most', async (t) => {
  const { setTimeout } = globalThis;
  const waits = [];
  t.mock.method(globalThis, 'setTimeout', (f, ms, ...rest) => {
    waits.push(ms);
    return setTimeout(f, ms, ...rest);
  });
  for (const after of ['3000000', '1e300', '2000000']) {
    const headers = { 'retry-after': after };
    await run((path) => (path === '/v1/batch' ? new Response('busy', { status: 503, headers }) : undefined), async ({ hw, asked, errors }) => {
      hw.emit('views', { url: '/', ms: 1 });
      await until('the answer', () => errors.length > 0);
      waits.length = 0;
      await sleep(300);
      hw.emit('views', { url: '/', ms: 1 });
      await sleep(100);
      assert.equal(asked['/v1/batch'], 1);
      assert.ok(waits.length < 50 && waits.every((ms) => ms <= 60_000), `${waits}`);
    });
  }
});

for (const status of [204, 502]) {
  // Prevents: dozens of polls and sessions a second where nothing answers long polls, and an error for each.
  test(`a watch that is answered ${status} at once is asked more and more seldom, and nothing else suffers`, () =>
    run((path) => (path === '/v1/watch' ? new Response(status === 204 ? null : 'no', { status }) : undefined), async ({ hub, hw, asked, errors }) => {
      for (let i = 0; i < 30; i++) {
        hw.emit('views', { url: '/', ms: 1 });
        await hw.flush();
        await sleep(100);
      }
      assert.deepEqual([hub.events(), asked['/v1/session'], errors], [30, 1, []]);
      assert.ok(asked['/v1/watch'] > 2 && asked['/v1/watch'] < 12, `${asked['/v1/watch']} watches in 3 s`);
    }));
}

test('an outage is reported once, however often a session opens in it', () =>
  run((path) => (path === '/v1/batch' ? new Response('no', { status: 502 }) : undefined), async ({ hw, asked, errors }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await until('some sessions', () => asked['/v1/session'] > 3);
    assert.deepEqual(errors.map(({ code }) => code), ['unreachable']);
  }));

test('an answer without an end is not buffered', () => {
  let pulled = 0;
  let isCancelled = false;
  const endless = () =>
    new ReadableStream({
      pull(to) {
        pulled++;
        to.enqueue(new Uint8Array(1 << 20).fill(0x48));
      },
      cancel: () => void (isCancelled = true),
    });
  return run((path) => (path === '/v1/session' ? new Response(endless()) : undefined), async ({ hw, errors }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await until('the error', () => errors.length > 0);
    assert.ok(errors[0] instanceof HeadwaterError && errors[0].code === 'unreachable', errors[0].message);
    assert.ok(isCancelled);
    assert.ok(pulled < 30, `${pulled} MiB`);
  });
});

// Prevents: a frame of 60,000 names that nobody asked for stopped a page for seconds.
test('streams that were not asked for are not named, and many frames are heard as one', async () => {
  const core = await engine('core');
  core.frames(welcome({ unknown: Array.from({ length: 60_000 }, (_, i) => String(i % 10)) }));
  const frames = Buffer.concat(Array.from({ length: 20_000 }, (_, i) => plans({ catalog: i + 2, streams: [] })));
  assert.equal(core.frames(frames), '');
  const events = [];
  for (let event; (event = core.event()); ) events.push(event);
  assert.deepEqual(events, ['connect', 'open', 'plans']);
});
