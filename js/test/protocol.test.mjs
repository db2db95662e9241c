// Exactly once between the package and a hub in memory that loses, repeats, delays and refuses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Headwater } from '../dist/node.js';
import { CORE, startHub, until } from './hub.mjs';
import { KIND, VIEWS, countAndSum, failure, op, readBatch, readResume, refused, spec, timeOfKey } from './wire.mjs';

/** A client and a hub; checks the ledger at the end. */
async function run(options, body) {
  const { hub: hubOptions, ...rest } = options;
  const hub = await startHub(hubOptions);
  const errors = [];
  const hw = Headwater.connect({ url: hub.url, wasm: CORE, flushIntervalMs: 20, onError: (error) => errors.push(error.code), ...rest });
  try {
    await body({ hub, hw, errors });
    const s = await hw.close({ timeoutMs: 1000 });
    const dropped = Object.values(s.dropped).reduce((a, b) => a + b, 0);
    assert.equal(s.emitted, s.pending + s.held + s.inOutbox + s.delivered + s.inDoubt + dropped, `ledger: ${JSON.stringify(s)}`);
    assert.equal(hub.conflicts, 0);
  } finally {
    await hw.close({ timeoutMs: 1 });
    await hub.close();
  }
}

test('events emitted before anything is loaded arrive, each once', () =>
  run({}, async ({ hub, hw }) => {
    for (let i = 0; i < 5000; i++) hw.emit('views', { url: `/${i % 7}`, ms: i });
    assert.equal(hw.stats().pending, 5000);
    await hw.flush();
    assert.equal(hub.events(), 5000);
    assert.equal(hub.viewEvents(1), 5000);
    assert.equal(hw.stats().delivered, 5000);
  }));

test('nobody listens to the page any more once the client is closed', async (t) => {
  const page = Object.assign(new EventTarget(), { visibilityState: 'hidden' });
  const listening = new Set();
  page.addEventListener = (name, listener, { signal }) => {
    listening.add(name);
    signal.addEventListener('abort', () => listening.delete(name));
  };
  globalThis.document = page;
  t.after(() => delete globalThis.document);
  await run({}, async ({ hw }) => {
    hw.emit('views', { url: '/' });
    assert.deepEqual([...listening], ['visibilitychange']);
  });
  assert.equal(listening.size, 0);
});

test('what is no hub, no level and no open client is told as such', () =>
  run({}, async ({ hub, hw }) => {
    const invalid = (message) => ({ name: 'HeadwaterError', code: 'invalid_argument', message: `invalid_argument: ${message}` });
    for (const options of [undefined, {}, 'http://127.0.0.1:1', { url: new URL(hub.url) }]) {
      assert.throws(() => Headwater.connect(options), invalid('connect takes { url: string }'));
    }
    const level = invalid('a level is one of received,durable,replicated');
    assert.throws(() => Headwater.connect({ url: hub.url, ackLevel: 'maybe' }), level);
    await assert.rejects(hw.flush('foo'), level);
    await assert.rejects(hw.flush({ timeoutMs: 5 }), level);
    await hw.flush(null, { timeoutMs: 5 });
    await hw.close();
    await assert.rejects(hw.query('SELECT 1'), { code: 'closed', message: 'closed: the client was closed' });
    assert.equal(hub.requests, 0);
  }));

test('nothing happens before the first event', () =>
  run({}, async ({ hub, hw }) => {
    await hw.flush();
    hw.stream('views').writer('url');
    assert.equal(hub.requests, 0);
    assert.equal(hw.stats().state, 'idle');
  }));

test('events are sent by age without a flush', () =>
  run({}, async ({ hub, hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await until('an event at the hub', () => hub.events() > 0);
  }));

test('lost requests, lost answers and repeats count every event once', async () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const faults = () => ['lose', 'lose_answer', 'twice', undefined, undefined][Math.floor(random() * 5)];
  await run({ hub: { faults } }, async ({ hub, hw }) => {
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 300; i++) hw.emit('views', { url: `/${i % 50}`, ms: i });
      await hw.flush();
    }
    assert.equal(hub.events(), 3600);
    assert.equal(hub.viewEvents(1), 3600);
    assert.ok(hub.duplicates > 0, 'the faults did repeat something');
    assert.equal(hw.stats().delivered, 3600);
  });
});

test('what arrived before its answer was lost is not sent again after a resume', async () => {
  let lost = 0;
  const faults = ({ kind }) => (kind === KIND.batch && lost++ === 0 ? 'lose_answer' : undefined);
  await run({ hub: { faults } }, async ({ hub, hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    assert.equal(hub.events(), 1);
    assert.equal(hub.duplicates, 0);
  });
});

test('a throttled batch waits as long as the hub says', async () => {
  const times = [];
  const faults = ({ kind, body }) => {
    if (kind !== KIND.batch) return undefined;
    times.push(performance.now());
    return times.length === 1 ? refused({ ...readBatch(body), code: 'throttled', retryAfterMs: 300 }) : undefined;
  };
  await run({ hub: { faults } }, async ({ hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    assert.ok(times[1] - times[0] >= 290, `${times[1] - times[0]} ms`);
  });
});

test('Retry-After of a proxy is obeyed', async () => {
  const times = [];
  const faults = ({ kind }) => {
    if (kind === KIND.hello) times.push(performance.now());
    return kind === KIND.hello && times.length === 1 ? { status: 503, headers: { 'retry-after': '1' } } : undefined;
  };
  await run({ hub: { faults } }, async ({ hw, errors }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    assert.ok(times[1] - times[0] >= 990, `${times[1] - times[0]} ms`);
    assert.deepEqual(errors, ['unreachable']);
  });
});

test('a batch that the hub refuses for good is counted and reported, the next ones go on', async () => {
  let first = true;
  const faults = ({ kind, body }) => {
    if (kind !== KIND.batch || !first) return undefined;
    first = false;
    return refused({ ...readBatch(body), code: 'malformed', message: 'looks wrong' });
  };
  await run({ hub: { faults } }, async ({ hub, hw, errors }) => {
    hw.emit('views', { url: '/', ms: 1 });
    // The caller of `emit` knows of this one.
    assert.equal(hw.emit('views', null)?.code, 'not_a_row');
    const lost = { code: 'lost', message: 'lost: events dropped: 1, in doubt: 0', dropped: 1, inDoubt: 0 };
    await assert.rejects(hw.flush(), lost);
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    assert.deepEqual(errors, ['not_a_row', 'malformed']);
    assert.equal(hw.stats().dropped.refused, 1);
    assert.equal(hub.events(), 1);
    // What the refused batch had to report went with the next one.
    assert.deepEqual(hub.dropped(), { invalid: 1, refused: 1 });
  });
});

// Prevents: the flush that had given up was told of the loss, and the next one was fine.
test('what is lost after a flush has given up is told by the next flush', async () => {
  let isDown = true;
  const faults = ({ kind, body }) => {
    if (kind !== KIND.batch) return undefined;
    return isDown ? 'lose' : refused({ ...readBatch(body), code: 'malformed', message: 'looks wrong' });
  };
  await run({ hub: { faults } }, async ({ hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await assert.rejects(hw.flush(undefined, { timeoutMs: 50 }), { code: 'timeout' });
    isDown = false;
    await until('the batch is given up', () => hw.stats().dropped.refused === 1);
    await assert.rejects(hw.flush(), { code: 'lost', dropped: 1, inDoubt: 0 });
    await hw.flush();
  });
});

test('a hub that forgot the producer leaves its transmitted batches in doubt', async () => {
  let first = true;
  const faults = ({ kind, body }) => {
    if (kind !== KIND.batch || !first) return undefined;
    first = false;
    return refused({ ...readBatch(body), code: 'expired' });
  };
  await run({ hub: { faults } }, async ({ hub, hw, errors }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await assert.rejects(hw.flush(), { code: 'lost', dropped: 0, inDoubt: 1 });
    assert.equal(hw.stats().inDoubt, 1);
    assert.deepEqual(errors, ['in_doubt']);
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    assert.equal(hub.events(), 1);
  });
});

test('what was sent and never acknowledged is in doubt when the client closes, the rest is dropped', async () => {
  const faults = ({ kind }) => (kind === KIND.batch ? 'lose_answer' : kind === KIND.resume ? 'lose' : undefined);
  await run({ hub: { faults } }, async ({ hub, hw }) => {
    for (let i = 0; i < 3; i++) hw.emit('views', { url: '/', ms: i });
    await assert.rejects(hw.flush('durable', { timeoutMs: 200 }), { code: 'timeout' });
    assert.deepEqual([hub.events(), hw.stats().inDoubt, hw.stats().inOutbox], [3, 0, 3]);
    hw.emit('views', { url: '/', ms: 4 }); // the session is not open again: this one cannot leave
    const { inDoubt, inOutbox, dropped } = await hw.close({ timeoutMs: 1 });
    assert.deepEqual([inDoubt, inOutbox, dropped], [3, 0, { closed: 1 }]);
    assert.equal(hub.events(), 3);
  });
});

test('a rejected session is reported once and tried again', async () => {
  let left = 2;
  const faults = ({ kind }) => (kind === KIND.hello && left-- > 0 ? failure({ code: 'unauthorized', message: 'who are you' }) : undefined);
  await run({ hub: { faults } }, async ({ hub, hw, errors }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    assert.deepEqual(errors, ['unauthorized']);
    assert.equal(hub.events(), 1);
  });
});

test('a view made later is fed within a second, over the air', () =>
  run({}, async ({ hub, hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    const start = performance.now();
    hub.change([{ schema: VIEWS, plans: [countAndSum(), countAndSum(2)] }]);
    while (hub.viewEvents(2) === 0) {
      hw.emit('views', { url: '/new', ms: 1 });
      await hw.flush();
      assert.ok(performance.now() - start < 1000, 'within a second');
    }
    assert.equal(hub.viewEvents(1), hw.stats().delivered);
  }));

/** Feeds view `view`, made now, until the hub has something of it. */
async function made(hub, hw, view) {
  hub.change([{ schema: VIEWS, plans: [countAndSum(), countAndSum(view)] }]);
  const start = performance.now();
  while (hub.viewEvents(view) === 0) {
    assert.ok(performance.now() - start < 10_000, `no plan of view ${view} over the air`);
    hw.emit('views', { url: '/new', ms: 1 });
    await hw.flush();
  }
}

// Prevents: after one failed request nobody watched any more once the poll of the connection before had ended.
for (const fault of ['lose', { status: 503 }]) {
  test(`plans go on coming over the air after a batch met ${JSON.stringify(fault)}`, async () => {
    let failing = 0;
    const faults = ({ kind }) => (kind === KIND.batch && failing-- > 0 ? fault : undefined);
    await run({ hub: { faults } }, async ({ hub, hw }) => {
      hw.emit('views', { url: '/', ms: 1 });
      await hw.flush();
      await until('a watch', () => hub.watchers.size === 1);
      const [held] = hub.watchers;
      failing = 1;
      hw.emit('views', { url: '/', ms: 2 });
      await hw.flush();
      await until('a watch of the new connection alone', () => hub.watchers.size === 1 && !hub.watchers.has(held));
      await made(hub, hw, 2);
      await made(hub, hw, 3);
    });
  });
}

// Prevents: a poll whose answer was lost was waited for until the page ended.
test('a watch that nobody answers is given up', async (t) => {
  const setTimeout = globalThis.setTimeout;
  t.mock.method(globalThis, 'setTimeout', (f, ms, ...rest) => setTimeout(f, ms === 60_000 ? 50 : ms, ...rest));
  await run({}, async ({ hub, hw, errors }) => {
    hub.deafTo = 2;
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    await made(hub, hw, 2);
    assert.deepEqual([hub.deafTo, errors], [0, []]);
  });
});

test('a stream that the hub does not have is named at once, waits and then arrives', () =>
  run({ hub: { streams: [] } }, async ({ hub, hw, errors }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await until('the error', () => errors.length > 0);
    const start = performance.now();
    for (let i = 0; i < 3; i++) {
      await assert.rejects(hw.flush(), { code: 'unknown_stream', stream: 'views', message: /no such stream: views; .*CREATE STREAM/ });
    }
    assert.ok(performance.now() - start < 5000, 'without waiting');
    assert.deepEqual(errors, ['unknown_stream'], 'once');
    hub.change([{ schema: VIEWS, plans: [countAndSum()] }]);
    await hw.flush();
    assert.equal(hub.events(), 1);
    assert.deepEqual(hw.stats().dropped, {});
  }));

test('flush asks again for a stream that was made a moment ago', () =>
  run({ hub: { streams: [] } }, async ({ hub, hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await assert.rejects(hw.flush(), { code: 'unknown_stream' });
    // No watcher is told: only the flush itself can find out.
    hub.streams = [{ schema: VIEWS, plans: [countAndSum()] }];
    await hw.flush();
    assert.equal(hub.events(), 1);
  }));

test('events of an unknown stream do not hold up the others, and close gives them up', async () => {
  const hub = await startHub();
  const hw = Headwater.connect({ url: hub.url, wasm: CORE });
  hw.emit('nope', { url: '/' });
  hw.emit('views', { url: '/', ms: 1 });
  await assert.rejects(hw.flush(), { code: 'unknown_stream', stream: 'nope' });
  assert.equal(hub.events(), 1);
  hw.emit('views', { url: '/', ms: 2 });
  const start = performance.now();
  await assert.rejects(hw.close({ timeoutMs: 60_000 }), { code: 'unknown_stream', stream: 'nope' });
  assert.ok(performance.now() - start < 30_000);
  const { delivered, dropped, pending, state } = hw.stats();
  assert.deepEqual([delivered, dropped, pending, state, hub.events()], [2, { unknown_stream: 1 }, 0, 'closed', 2]);
  assert.deepEqual(hub.dropped(), { closed: 1 });
  await hub.close();
});

test('events of a dropped stream are refused, those that it held are counted, and made again it goes on', () =>
  run({ flushIntervalMs: 60_000 }, async ({ hub, hw, errors }) => {
    const writer = hw.stream('views').writer('url');
    writer.emit('/');
    await hw.flush();
    for (let i = 0; i < 5; i++) writer.emit('/held');
    hub.change([]);
    await until('the news', () => errors.length > 0);
    assert.deepEqual([errors, hw.stats().dropped, hw.stats().held], [['stream_gone'], { stream_gone: 5 }, 0]);
    assert.equal(hw.emit('views', { url: '/' })?.code, 'stream_gone');
    assert.equal(writer.emit('/')?.code, 'stream_gone');
    assert.equal(hw.stream('views').columns({ url: ['a', 'b'] })?.code, 'stream_gone');
    // A flush tells of what was taken, once.
    await assert.rejects(hw.flush(), { code: 'lost', dropped: 5, inDoubt: 0 });
    await hw.flush();
    assert.deepEqual([hub.dropped(), hub.events()], [{ stream_gone: 9 }, 1]);
    const again = { schema: { ...VIEWS, id: 2 }, plans: [{ ...countAndSum(3), stream: 2 }] };
    hub.change([again]);
    await until('the stream', () => writer.emit('/again') === undefined);
    // Dropped and made again in one go, it is another stream as well.
    hub.change([{ schema: { ...VIEWS, id: 3 }, plans: [{ ...countAndSum(4), stream: 3 }] }]);
    await until('the next', () => hw.stats().dropped.stream_gone > 9 && hw.stats().held === 0);
    writer.emit('/third');
    await assert.rejects(hw.flush(), { code: 'lost' });
    assert.deepEqual([hub.viewEvents(3), hub.viewEvents(4)], [0, 1]);
  }));

test('what emit refused is told to the hub, by reason, each once', async () => {
  const faults = ({ kind }) => (kind === KIND.batch && Math.random() < 0.5 ? 'lose_answer' : undefined);
  await run({ hub: { faults }, pendingMax: 2 }, async ({ hub, hw }) => {
    for (let i = 0; i < 5; i++) hw.emit('views', { url: '/', nope: i });
    assert.deepEqual(hw.stats().dropped, { waiting_full: 3 });
    await assert.rejects(hw.flush(), { code: 'lost', dropped: 2 });
    hw.stream('views').columns({ ms: [1, NaN, 3] });
    hw.emit('views', { url: 5 });
    hw.emit('views', null);
    hw.emit('views', { url: 'x'.repeat(300) });
    await hw.flush();
    assert.deepEqual(hw.stats().dropped, { waiting_full: 3, unknown_column: 2, nan: 1, wrong_type: 1, not_a_row: 1, too_long: 1 });
    assert.deepEqual([hub.dropped(), hub.events()], [{ invalid: 6, waiting_full: 3 }, 2]);
  });
});

for (const fault of ['lose', 'lose_answer', 'twice']) {
  test(`a report is counted once when its batch meets "${fault}" and the hub starts anew`, async () => {
    let starts = 0;
    const faults = ({ kind }) => {
      if (kind === KIND.batch && !starts++) return fault;
      // Two attempts to connect meet nobody.
      return starts > 0 && kind !== KIND.batch && starts++ < 3 ? 'lose' : undefined;
    };
    await run({ hub: { faults } }, async ({ hub, hw }) => {
      hw.emit('views', { url: '/', ms: 1 });
      assert.equal(hw.emit('views', { nope: 1 }), undefined, 'it waits for the plans');
      await hw.flush().catch(({ code }) => assert.equal(code, 'lost'));
      assert.equal(hw.emit('views', null)?.code, 'not_a_row');
      await hw.flush();
      await until('the second report', () => hub.dropped().invalid === 2);
      assert.deepEqual([hub.dropped(), hub.events(), hw.stats().inDoubt], [{ invalid: 2 }, 1, 0]);
    });
  });
}

test('a report is not sent again when the hub forgot the producer after it took its batch', async () => {
  const faults = ({ kind, body, hub }) => {
    if (kind === KIND.batch && !hub.batches.size) return 'lose_answer';
    if (kind === KIND.resume) return refused({ ...readResume(body), seq: 0, code: 'expired' });
    return undefined;
  };
  await run({ hub: { faults } }, async ({ hub, hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    hw.emit('views', null);
    await assert.rejects(hw.flush(), { code: 'lost', inDoubt: 1 });
    hw.emit('views', { url: '/', ms: 2 });
    await hw.flush();
    assert.deepEqual([hub.dropped(), hub.events(), hw.stats().dropped], [{ invalid: 1 }, 2, { not_a_row: 1 }]);
  });
});

test('a refused event alone is reported, too', () =>
  run({}, async ({ hub, hw }) => {
    assert.equal(hw.emit('views', undefined)?.code, 'not_a_row');
    await until('the report', () => hub.dropped().invalid === 1);
    assert.equal(hub.events(), 0);
  }));

test('groups that no batch can hold are counted, and flush says so', () =>
  run({ flushIntervalMs: 60_000 }, async ({ hub, hw }) => {
    hub.frameBytesMax = 1024;
    const url = { op: op.column(0), type: 'text' };
    const view = (id, state) => ({ view: id, version: 1, stream: 1, nodes: [url], keys: [], states: [state] });
    hub.change([{ schema: VIEWS, plans: [view(1, { spec: spec.count, args: [] }), view(2, { spec: spec.hll('text', 14), args: [0] })] }]);
    for (let i = 0; i < 3000; i++) hw.emit('views', { url: `/${i}`, ms: i });
    await assert.rejects(hw.flush(), { code: 'oversized' });
    await hw.flush();
    const { oversizedGroups, delivered, dropped } = hw.stats();
    assert.deepEqual([oversizedGroups, delivered, dropped], [1, 3000, {}]);
    assert.deepEqual([hub.events(), hub.viewEvents(1)], [3000, 3000]);
  }));

test('a view that the core cannot evaluate brings the full module, and nothing is lost', () =>
  run({}, async ({ hub, hw }) => {
    hw.emit('views', { url: '/A', ms: 1 });
    await hw.flush();
    assert.equal(hw.stats().module, 'core');
    const digest = {
      view: 2, version: 1, stream: 1,
      nodes: [{ op: op.column(0), type: 'text' }, { op: op.lower(0), type: 'text' }, { op: op.column(1), type: 'double' }],
      keys: [1], states: [{ spec: spec.tdigest(200), args: [2] }],
    };
    hub.change([{ schema: VIEWS, plans: [countAndSum(), digest] }]);
    const start = performance.now();
    while (hub.viewEvents(2) === 0) {
      assert.ok(performance.now() - start < 30_000, 'the full module is never there');
      hw.emit('views', { url: '/A', ms: 2 });
      await hw.flush();
    }
    assert.equal(hw.stats().module, 'full');
    assert.equal(hub.events(), hw.stats().delivered);
    assert.equal(hub.viewEvents(1), hw.stats().delivered);
    assert.equal(new Set([...hub.batches.values()].map((b) => b.pid)).size, 2, 'two producers');
  }));

test('what a view gathered goes on growing when plans are announced again', () =>
  run({ flushIntervalMs: 60_000 }, async ({ hub, hw }) => {
    hw.emit('views', { url: '/A', ms: 1 });
    await hw.flush();
    hw.emit('views', { url: '/A', ms: 2 });
    hub.change([{ schema: VIEWS, plans: [countAndSum(), countAndSum(2)] }]);
    await until('the plans', () => hub.watchers.size === 1);
    hw.emit('views', { url: '/A', ms: 3 });
    await hw.flush();
    assert.deepEqual([hub.viewEvents(1), hub.viewEvents(2)], [3, 1]);
    const last = [...hub.batches.values()].at(-1).report;
    assert.deepEqual(last.sections.map((section) => [section.view, section.events]), [[1, 2], [2, 1]]);
  }));

test('a page without the module that a new view needs goes on with the views that it knows', () =>
  run({ wasm: { ...CORE, full: () => new Uint8Array([60, 104, 116, 109]) } }, async ({ hub, hw, errors }) => {
    hw.emit('views', { url: '/A', ms: 1 });
    await hw.flush();
    const digest = {
      view: 2, version: 1, stream: 1, nodes: [{ op: op.column(1), type: 'double' }], keys: [], states: [{ spec: spec.tdigest(200), args: [0] }],
    };
    hub.change([{ schema: VIEWS, plans: [countAndSum(), digest] }]);
    await until('the error', () => errors.length > 0);
    assert.deepEqual(errors, ['wasm_unavailable']);
    assert.equal(hw.emit('views', { url: '/A', ms: 2 }), undefined);
    await hw.flush();
    const { module, delivered, dropped } = hw.stats();
    assert.deepEqual([module, delivered, dropped, hub.viewEvents(1)], ['core', 2, {}, 2]);
  }));

test('a view by a width of time is left to the full module', () =>
  run({}, async ({ hub, hw }) => {
    const width = { op: (w) => w.varint(1).varint(7).zigzag(0).zigzag(1).zigzag(0), type: 'interval' };
    hub.change([{ schema: VIEWS, plans: [{ view: 2, version: 1, stream: 1, nodes: [width], keys: [0], states: [{ spec: spec.count, args: [] }] }] }]);
    hw.emit('views', { url: '/A', ms: 1 });
    await hw.flush();
    assert.deepEqual([hw.stats().module, hub.viewEvents(2)], ['full', 1]);
  }));

test('event times are corrected by the hub\'s clock', () =>
  run({}, async ({ hub, hw }) => {
    hub.clockSkewMicros = 3_600_000_000n;
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    assert.ok(Math.abs(hw.stats().clockOffsetMs - 3_600_000) < 1000, `${hw.stats().clockOffsetMs}`);
  }));

// Prevents: npm clients kept the clock of their Welcome, and times of events stood still for as long as a clock was set back.
test('a hub whose clock is set back is followed, and times go on from there', async () => {
  const byTime = { view: 1, version: 1, stream: 1, nodes: [{ op: op.column(2), type: 'timestamptz' }], keys: [0], states: [{ spec: spec.count, args: [] }] };
  await run({ hub: { streams: [{ schema: VIEWS, plans: [byTime] }] } }, async ({ hub, hw }) => {
    hw.emit('views', { url: '/', ms: 1 });
    await hw.flush();
    hw.emit('views', { url: '/', ms: 2 });
    hub.clockSkewMicros = -3_600_000_000n;
    await until('the new time', () => hw.stats().clockOffsetMs < -3_590_000);
    await hw.flush();
    const batches = hub.batches.size;
    const start = Date.now() - 3_600_000;
    for (let i = 0; i < 3; i++) {
      hw.emit('views', { url: '/', ms: 3 });
      await hw.flush();
    }
    const keys = [...hub.batches.values()].slice(batches).flatMap(({ report }) => report.sections.flatMap((section) => section.keys));
    const times = keys.map(timeOfKey);
    assert.equal(new Set(times).size, 3, `${times}`);
    assert.ok(times.every((time) => Math.abs(time - start) < 60_000), `${times.map((time) => time - start)} ms off`);
  });
});

test('a hub that is never there: flush times out, memory stays bounded, the loss is counted on close', async () => {
  let hear;
  const heard = new Promise((resolve) => (hear = resolve));
  const onError = (error) => error.code === 'unreachable' && hear(error);
  const hw = Headwater.connect({ url: 'http://127.0.0.1:9', pendingMax: 100, onError });
  for (let i = 0; i < 150; i++) hw.emit('views', { url: '/', ms: i });
  const cause = await heard;
  await assert.rejects(hw.flush('durable', { timeoutMs: 100 }), { code: 'timeout', cause });
  assert.equal(hw.stats().dropped.waiting_full, 50);
  const stats = await hw.close({ timeoutMs: 50 });
  assert.deepEqual([stats.dropped.closed, stats.pending, stats.state], [100, 0, 'closed']);
  assert.equal(hw.emit('views', {})?.code, 'closed');
});
