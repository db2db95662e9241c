// Starts Chromium and serves dist/ to it.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium'].find((path) => path && existsSync(path));

/** Why browser tests cannot run; false when they can. */
export const skip = executablePath ? false : 'SKIPPED: no Chromium (set CHROMIUM, or install the package chromium)';

/** The background flags keep Chromium from asking hosts that a closed network refuses. */
const ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
const TYPES = { js: 'text/javascript', wasm: 'application/wasm', map: 'application/json' };

/** Headless Chromium with a profile of its own. */
export async function launch() {
  const profile = mkdtempSync(join(tmpdir(), 'headwater-chromium-'));
  const browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: ARGS });
  const close = async () => {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { browser, close };
}

/** An empty page at `/`, with a policy if one is given, and the package beside it. */
export async function serveDist(policy) {
  const asked = new Set();
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://x').pathname;
    asked.add(path);
    if (path === '/') {
      response.writeHead(200, { 'content-type': 'text/html', ...(policy ? { 'content-security-policy': policy } : {}) });
      return response.end('<!doctype html><title>page</title>');
    }
    const body = await readFile(new URL(`../../dist${path}`, import.meta.url)).catch(() => undefined);
    response.writeHead(body ? 200 : 404, { 'content-type': TYPES[path.split('.').pop()] ?? 'text/plain' });
    response.end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, asked, close: () => server.close() };
}
