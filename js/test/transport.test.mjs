// What the package asks of `fetch`: keepalive within its quota, headers, retries that spread out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Headwater, HeadwaterError } from '../dist/node.js';
import { startHub, until } from './hub.mjs';

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
  // The time is asked for after a second, and then every minute.
  const paths = asked.map(({ url }) => new URL(url).pathname).filter((path) => path !== '/v1/clock');
  assert.deepEqual([...new Set(paths)].sort(), ['/v1/batch', '/v1/session', '/v1/sql', '/v1/watch']);
  for (const { url, method, credentials, headers } of asked) {
    assert.ok(url.startsWith(`${hub.url}/v1/`), url);
    assert.deepEqual([method, credentials, headers.authorization], ['POST', 'omit', 'Bearer secret']);
  }
});

test('what cannot be reached is named, with what to check, and the cause is kept', async () => {
  const errors = [];
  const hw = Headwater.connect({ url: 'http://127.0.0.1:9/', onError: (error) => errors.push(error) });
  const isClear = (error, path) => {
    assert.equal(error.code, 'unreachable');
    assert.match(error.message, new RegExp(`no answer from http://127.0.0.1:9${path} \\(.+\\): is the hub running, .*port.*certificate`));
    assert.ok(error.cause instanceof Error, 'the cause');
    return true;
  };
  await assert.rejects(hw.query('SELECT 1'), (error) => isClear(error, '/v1/sql'));
  hw.emit('views', {});
  await until('the error', () => errors.length > 0);
  isClear(errors[0], '/v1/session');
  await hw.close({ timeoutMs: 1 });
  const { createServer } = await import('node:http');
  const other = createServer((_, response) => response.writeHead(404).end('nginx')).listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const url = `http://127.0.0.1:${other.address().port}`;
  const lost = Headwater.connect({ url, onError: (error) => errors.push(error) });
  await assert.rejects(lost.query('SELECT 1'), { code: 'unreachable', message: `unreachable: ${url}/v1/sql answered 404: is this the HTTP port of a hub?` });
  await lost.close();
  other.close();
});

test('a query ends in time, and when its signal says so', async (t) => {
  const hub = await startHub();
  t.after(() => hub.close());
  const silent = (_, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  const hw = Headwater.connect({ url: hub.url, fetch: silent });
  await assert.rejects(hw.query('SELECT 1', { timeoutMs: 20 }), { code: 'timeout', message: /within 20 ms/ });
  const abort = new AbortController();
  const asked = hw.query('SELECT 1', { signal: abort.signal });
  abort.abort('no longer');
  await assert.rejects(asked, { code: 'aborted', cause: 'no longer' });
  await assert.rejects(hw.query('SELECT 1', { signal: abort.signal }), { code: 'aborted' });
  await hw.close();
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
