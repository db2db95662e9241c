// What users write, as the compiler and the runtime take it: a consumer under `strict`, and the package README.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from 'esbuild';
import { startHub } from './hub.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const FLAGS = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--target', 'es2022', '--lib', 'es2023,dom'];
const example = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))[1];

/** Inside the package, so that `headwater` is the package itself. */
function inside(body) {
  const directory = mkdtempSync(join(root, 'test', '.tmp-'));
  try {
    return body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function check(file, ...module) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { status, stdout } = spawnSync(process.execPath, [tsc, '--ignoreConfig', ...FLAGS, ...module, file], { cwd: root, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
}

for (const [module, resolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
  test(`the types hold under strict, resolved as ${resolution}`, () => {
    check(join(root, 'test/consumer.ts'), '--module', module, '--moduleResolution', resolution);
    inside((directory) => {
      const file = join(directory, 'readme.ts');
      writeFileSync(file, example);
      check(file, '--module', module, '--moduleResolution', resolution);
    });
  });
}

test('the example of the package README runs', async () => {
  const hub = await startHub();
  hub.streams[0].schema = { id: 1, name: 'pageviews', fields: [['url', 'text'], ['latency_ms', 'double']] };
  hub.onSql = () => ({ body: { columns: [{ name: 'url', type: 'text' }, { name: 'n', type: 'bigint' }], rows: [['/', 1]], tag: 'SELECT 1' } });
  const { code } = transformSync(example.replace(/http:\/\/[\d.:]+/, hub.url), { loader: 'ts' });
  const directory = mkdtempSync(join(root, 'test', '.tmp-'));
  globalThis.location = { pathname: '/' };
  try {
    writeFileSync(join(directory, 'readme.mjs'), `${code}\nexport { rows, hw };`);
    const { rows, hw } = await import(pathToFileURL(join(directory, 'readme.mjs')));
    assert.deepEqual([...rows], [{ url: '/', n: 1 }]);
    assert.deepEqual([hub.events(), hw.stats().delivered, hw.stats().state], [1, 1, 'closed']);
    assert.equal(JSON.parse(hub.sql[0].body).sql, 'SELECT url, n FROM by_url');
  } finally {
    delete globalThis.location;
    rmSync(directory, { recursive: true, force: true });
    await hub.close();
  }
});
