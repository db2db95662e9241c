// What the package asks of `fetch`: keepalive within its quota, headers, retries that spread out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Headwater, HeadwaterError } from '../dist/node.js';
import { startHub } from './hub.mjs';

test('keepalive bodies in flight stay below 64 KiB together, and everything arrives', async (t) => {
  const hub = await startHub();
  t.after(() => hub.close());
  let inFlight = 0;
  let most = 0;
  let without = 0;
  const fetch = async (url, options) => {
    const { body, keepalive } = options;
    if (!keepalive) {
      without += String(url).endsWith('/v1/batch') ? 1 : 0;
      return globalThis.fetch(url, options);
    }
    inFlight += body.length;
    most = Math.max(most, inFlight);
    try {
      // Node's own fetch does not know keepalive.
      return await globalThis.fetch(url, { ...options, keepalive: false });
    } finally {
      inFlight -= body.length;
    }
  };
  const hw = Headwater.connect({ url: hub.url, fetch, flushIntervalMs: 1e9, pendingMax: 1 });
  hw.emit('views', {});
  await hw.flush();
  for (let i = 0; i < 40_000; i++) hw.emit('views', { url: `/a/path/that/is/long/enough/${i}`, ms: i });
  await hw.flush();
  assert.equal(hub.events(), 40_001);
  assert.ok(most > 0 && most < 64 * 1024, `${most} bytes with keepalive at once`);
  assert.ok(without > 0, 'the rest went without it');
  await hw.close();
});

test('tokens travel in headers, credentials never, and only to the hub', async (t) => {
  const hub = await startHub();
  t.after(() => hub.close());
  const asked = [];
  const fetch = (url, options) => {
    asked.push({ url: String(url), ...options });
    return globalThis.fetch(url, options);
  };
  const hw = Headwater.connect({ url: `${hub.url}/`, token: 'secret', fetch });
  hw.emit('views', { url: '/' });
  await hw.flush();
  await hw.query('SELECT 1');
  await hw.close();
  assert.deepEqual([...new Set(asked.map(({ url }) => new URL(url).pathname))].sort(), ['/v1/batch', '/v1/session', '/v1/sql', '/v1/watch']);
  for (const { url, method, credentials, headers } of asked) {
    assert.ok(url.startsWith(`${hub.url}/v1/`), url);
    assert.deepEqual([method, credentials, headers.authorization], ['POST', 'omit', 'Bearer secret']);
  }
});

test('attempts to reach a hub wait longer each time, and no two clients wait alike', async () => {
  const waits = () =>
    new Promise((resolve) => {
      const times = [];
      const transport = {
        send: () => {
          times.push(performance.now());
          if (times.length === 5) {
            resolve(times.slice(1).map((at, i) => at - times[i]));
            void hw.close({ timeoutMs: 1 });
          }
          return Promise.reject(new HeadwaterError('unreachable', 'nobody there'));
        },
      };
      const hw = Headwater.connect({ url: 'http://nowhere.invalid', transport });
      hw.emit('views', {});
    });
  const all = await Promise.all(Array.from({ length: 6 }, waits));
  const mean = (at) => all.reduce((sum, each) => sum + each[at], 0) / all.length;
  assert.ok(mean(3) > 2 * mean(0), `${all.map((each) => each.map(Math.round)).join(' | ')} ms`);
  assert.ok(new Set(all.map((each) => Math.round(each[3]))).size > 1, 'jitter');
});

test('a transport of the user\'s own carries the frames', async (t) => {
  const hub = await startHub();
  t.after(() => hub.close());
  const paths = { 1: 'session', 4: 'resume', 6: 'batch', 9: 'clock' };
  const sent = [];
  const transport = {
    async send(frame, { path = `/v1/${paths[frame[1]]}`, signal } = {}) {
      sent.push(path);
      const response = await fetch(hub.url + path, { method: 'POST', body: frame, signal });
      return new Uint8Array(await response.arrayBuffer());
    },
  };
  const hw = Headwater.connect({ url: 'http://nowhere.invalid', transport, streams: ['views'] });
  for (let i = 0; i < 10; i++) hw.emit('views', { url: '/', ms: i });
  await hw.flush();
  assert.equal(hub.events(), 10);
  assert.deepEqual(hub.hellos[0].streams, ['views']);
  assert.ok(sent.includes('/v1/batch'));
  await hw.close();
});
