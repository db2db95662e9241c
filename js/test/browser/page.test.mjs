// The package as a page loads it: real headless Chromium, the files of dist/ as they are published.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub, until } from '../hub.mjs';
import { launch, serveDist, skip } from './chromium.mjs';

let site, browser, close;

before(async () => {
  if (skip) return console.error(skip);
  ({ browser, close } = await launch());
  site = await serveDist();
});

after(async () => {
  await close?.();
  site?.close();
});

async function open(url = site.url) {
  const page = await browser.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.goto(url);
  return { page, problems };
}

test('a page counts, flushes and queries', { skip }, async () => {
  const hub = await startHub();
  hub.onSql = () => ({ body: { columns: [{ name: 'n', type: 'bigint' }], rows: [[3000]], tag: 'SELECT 1' } });
  const { page, problems } = await open();
  const result = await page.evaluate(async (url) => {
    const { Headwater } = await import('/browser.js');
    const errors = [];
    const hw = Headwater.connect({ url, onError: (error) => errors.push(error.code) });
    for (let i = 0; i < 3000; i++) hw.emit('views', { url: `/p${i % 5}`, ms: i });
    await hw.flush();
    const bad = hw.emit('views', { url: '/', ms: NaN })?.code;
    const rows = await hw.query('SELECT count(*) AS n FROM v');
    return { errors, bad, rows: [...rows], stats: await hw.close() };
  }, hub.url);
  assert.equal(hub.events(), 3000);
  assert.equal(hub.viewEvents(1), 3000);
  assert.deepEqual(result.rows, [{ n: 3000 }]);
  assert.deepEqual([result.bad, result.errors], ['nan', ['nan']]);
  assert.equal(result.stats.delivered, 3000);
  assert.deepEqual(problems, []);
  assert.ok(!site.asked.has('/headwater_full.wasm'), 'the full module is not loaded unasked');
  await page.close();
  await hub.close();
});

test('a hub that comes back finds what was emitted meanwhile', { skip }, async () => {
  let [up, lost] = [false, 0];
  const faults = () => {
    if (up) return undefined;
    lost++;
    return 'lose';
  };
  const hub = await startHub({ faults });
  const { page, problems } = await open();
  await page.evaluate(async (url) => {
    const { Headwater } = await import('/browser.js');
    globalThis.hw = Headwater.connect({ url });
    for (let i = 0; i < 100; i++) globalThis.hw.emit('views', { url: '/', ms: i });
  }, hub.url);
  await until('an attempt that is lost', () => lost > 0);
  assert.equal(hub.events(), 0);
  up = true;
  await page.evaluate(() => globalThis.hw.flush());
  assert.equal(hub.events(), 100);
  assert.deepEqual(problems, []);
  await page.close();
  await hub.close();
});

test('a worker counts too', { skip }, async () => {
  const hub = await startHub();
  const { page, problems } = await open();
  const delivered = await page.evaluate(async (url) => {
    const code = `import { Headwater } from '${location.origin}/browser.js';
      const hw = Headwater.connect({ url: '${url}' });
      hw.emit('views', { url: '/worker', ms: 1 });
      hw.flush().then(() => postMessage(hw.stats().delivered), (e) => postMessage(String(e)));`;
    const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })), { type: 'module' });
    return new Promise((resolve) => (worker.onmessage = (message) => resolve(message.data)));
  }, hub.url);
  assert.equal(delivered, 1);
  assert.equal(hub.events(), 1);
  assert.deepEqual(problems, []);
  await page.close();
  await hub.close();
});

test('a page whose policy forbids WASM keeps running and counts what it refuses', { skip }, async () => {
  const hub = await startHub();
  const strict = await serveDist("script-src 'self'; connect-src *");
  const { page, problems } = await open(strict.url);
  // evaluate() itself runs under the page's policy: the import is a same-origin script, which it allows.
  const result = await page.evaluate(async (url) => {
    const { Headwater } = await import('/browser.js');
    const hw = Headwater.connect({ url });
    hw.emit('views', { url: '/' });
    const flushed = await hw.flush('durable', { timeoutMs: 3000 }).then(() => 'ok', (error) => error.code);
    return { flushed, later: hw.emit('views', {})?.code, stats: hw.stats() };
  }, hub.url);
  assert.deepEqual([result.flushed, result.later], ['wasm_unavailable', 'wasm_unavailable']);
  assert.deepEqual(result.stats.dropped, { wasm_unavailable: 2 });
  assert.deepEqual(problems, []);
  await page.close();
  strict.close();
  await hub.close();
});

test('a page that is left delivers what it holds, without waiting for its timer', { skip }, async () => {
  const hub = await startHub();
  const { page, problems } = await open();
  await page.evaluate(async (url) => {
    const { Headwater } = await import('/browser.js');
    globalThis.hw = Headwater.connect({ url, flushIntervalMs: 1e9 });
    globalThis.hw.emit('views', {});
    await globalThis.hw.flush();
    for (let i = 0; i < 200; i++) globalThis.hw.emit('views', { url: `/p${i % 20}`, ms: i });
  }, hub.url);
  assert.equal(hub.events(), 1);
  await page.goto('about:blank');
  await until('201 events at the hub', () => hub.events() >= 201);
  assert.equal(hub.events(), 201);
  assert.deepEqual(problems, []);
  await page.close();
  await hub.close();
});

test('batches beyond the keepalive quota arrive at the first attempt', { skip }, async () => {
  const hub = await startHub();
  const { page } = await open();
  const result = await page.evaluate(async (url) => {
    const { Headwater } = await import('/browser.js');
    const errors = [];
    const hw = Headwater.connect({ url, flushIntervalMs: 1e9, onError: (error) => errors.push(error.message) });
    hw.emit('views', {});
    await hw.flush();
    for (let i = 0; i < 20_000; i++) hw.emit('views', { url: `/a/path/that/is/long/enough/${i}`, ms: i });
    await hw.flush();
    return { errors, batches: hw.stats().batches, stats: await hw.close() };
  }, hub.url);
  assert.deepEqual([result.errors, result.batches.resent, result.stats.delivered], [[], 0, 20_001]);
  assert.ok(result.batches.sent > 2);
  assert.equal(hub.events(), 20_001);
  await page.close();
  await hub.close();
});
