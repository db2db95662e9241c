// A real hub for the end-to-end tests: `headwater serve` in a directory of its own.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const built = ['debug', 'release'].map((profile) =>
  fileURLToPath(new URL(`../../target/${profile}/headwater`, import.meta.url)),
);

/** The hub's program: `HEADWATER_BIN`, or what cargo has built; undefined without. */
export const program = [process.env.HEADWATER_BIN, ...built].find((path) => path && existsSync(path));

/** Why a test that needs a real hub cannot run; false when it can. */
export const skip = program ? false : 'SKIPPED: no hub; cargo build -p headwater-hub, or set HEADWATER_BIN';

/** Starts a hub; `kill` ends it without mercy, `restart` starts it again on the same data and port. */
export async function startRealHub() {
  const directory = mkdtempSync(join(tmpdir(), 'headwater-hub-'));
  const hub = { url: undefined, child: undefined };
  hub.start = async (listen) => {
    const args = ['serve', '--data-dir', join(directory, 'data'), '--listen', listen];
    hub.child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    hub.url = await ready(hub.child);
  };
  hub.kill = () =>
    new Promise((resolve) => {
      hub.child.once('exit', resolve);
      hub.child.kill('SIGKILL');
    });
  hub.restart = () => hub.start(new URL(hub.url).host);
  hub.close = async () => {
    await hub.kill();
    rmSync(directory, { recursive: true, force: true });
  };
  await hub.start('127.0.0.1:0');
  return hub;
}

function ready(child) {
  return new Promise((resolve, reject) => {
    let text = '';
    const read = (chunk) => {
      text += chunk;
      const url = /\bhttp\s+(http:\/\/\S+)/.exec(text)?.[1];
      if (url) resolve(url);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('exit', (code) => reject(new Error(`the hub ended with ${code}: ${text}`)));
  });
}
