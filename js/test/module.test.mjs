// The WASM modules themselves: golden frames through their surface, hostile bytes, sizes.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { engine } from './engine.mjs';
import { KIND, vectors } from './wire.mjs';

const frames = vectors(await readFile(new URL('../../tests/vectors/frames.txt', import.meta.url), 'utf8'));
for (const flavor of ['core', 'full']) {
  test(`${flavor}: the golden Welcome opens a session`, async () => {
    const e = await engine(flavor, ['clicks']);
    assert.equal(e.event(), 'connect');
    assert.equal(e.frames(frames.get('welcome')), '');
    const events = [e.event(), e.event(), e.event()].filter(Boolean);
    // The vector's view groups by lower(url): the core leaves that to the full module.
    assert.deepEqual(events.sort(), flavor === 'core' ? ['needs_full', 'open'] : ['open', 'plans', 'unknown\0clicks']);
  });

  test(`${flavor}: every prefix and every flipped byte of a Welcome is survived`, async () => {
    const welcome = frames.get('welcome');
    for (let end = 1; end < welcome.length; end++) {
      const e = await engine(flavor);
      assert.notEqual(e.frames(welcome.subarray(0, end)), '', `prefix ${end}`);
    }
    for (let i = 0; i < welcome.length; i++) {
      const e = await engine(flavor);
      const bytes = welcome.slice();
      bytes[i] ^= 0x81;
      e.frames(bytes); // refused or taken, never a trap
      e.event();
    }
  });

  // Prevents: the hub's clock was asked for by Hello only, and a long session kept what it had heard then.
  test(`${flavor}: an open session asks for the time every minute`, async () => {
    const e = await engine(flavor);
    e.frames(frames.get('welcome'));
    const asked = [];
    for (let seconds = 0; seconds < 130; seconds++) {
      e.timeout(seconds);
      for (let bytes; (bytes = e.transmit(seconds)).length; ) if (bytes[1] === KIND.clockRequest) asked.push(seconds);
    }
    assert.deepEqual(asked, [1, 61, 121]);
  });

  test(`${flavor}: a frame that does not belong here ends the conversation`, async () => {
    const e = await engine(flavor);
    assert.match(e.frames(frames.get('rows')), /^unexpected_frame/);
    assert.match(e.frames(frames.get('failure')), /^42P01\0no such view/);
    assert.match(e.frames(Uint8Array.of(0x48, 2, 1, 255, 255, 255, 255, 255, 255, 255, 255, 127)), /^malformed/);
  });
}
