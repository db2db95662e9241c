// A page in headless Chromium against a real hub: emit, flush, query, and the totals are exact.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skip as noHub, startRealHub } from '../real.mjs';
import { launch, serveDist, skip as noChromium } from './chromium.mjs';

const skip = noChromium || noHub;

test('a page feeds a real hub and reads its own answers', { skip }, async () => {
  const hub = await startRealHub();
  const site = await serveDist();
  const { browser, close } = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(site.url);
    const result = await page.evaluate(async (url) => {
      const { Headwater } = await import('/browser.js');
      const hw = Headwater.connect({ url });
      await hw.query('CREATE STREAM shop (item TEXT, cents BIGINT)');
      await hw.query('CREATE CONTINUOUS VIEW sold AS SELECT item, count(*) AS n, sum(cents) AS cents FROM shop GROUP BY item');
      const writer = hw.stream('shop').writer('item', 'cents');
      const items = ['tea', 'coffee', 'gr\u00fcner Tee'].map((name) => hw.intern(name));
      for (let i = 0; i < 9000; i++) writer.emit(items[i % 3], i);
      await hw.flush();
      const rows = await hw.query('SELECT item, n, cents FROM sold ORDER BY item');
      return { rows: [...rows], stats: await hw.close() };
    }, hub.url);
    const sum = (first) => Array.from({ length: 3000 }, (_, i) => first + 3 * i).reduce((a, b) => a + b);
    const expected = [['coffee', sum(1)], ['gr\u00fcner Tee', sum(2)], ['tea', sum(0)]];
    assert.deepEqual(result.rows.map((r) => [r.item, r.n, Number(r.cents)]), expected.map(([item, cents]) => [item, 3000, cents]));
    assert.equal(result.stats.delivered, 9000);
  } finally {
    await close();
    site.close();
    await hub.close();
  }
});
