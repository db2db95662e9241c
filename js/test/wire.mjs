// The frames in JavaScript, as far as a hub needs them: tests of the package play the hub with it.
// Bytes: sdk/FORMAT.md; tests/vectors/frames.txt holds it to them.

export const KIND = { hello: 1, welcome: 2, plans: 3, resume: 4, resumed: 5, batch: 6, ack: 7, refused: 8, clockRequest: 9, clockReply: 10, failure: 15 };
export const REFUSED = ['malformed', 'too_large', 'born_in_future', 'expired', 'dot_conflict', 'window_exceeded', 'not_primary', 'unavailable', 'throttled', 'unauthorized', 'unknown_plan'];

/** Writes postcard. */
export class Writer {
  bytes = [];
  varint(value) {
    let v = BigInt(value);
    for (; v >= 128n; v >>= 7n) this.bytes.push(Number(v & 127n) | 128);
    this.bytes.push(Number(v));
    return this;
  }
  zigzag(value) {
    const v = BigInt(value);
    return this.varint(v >= 0n ? v << 1n : (-v << 1n) - 1n);
  }
  u8(value) {
    this.bytes.push(value);
    return this;
  }
  raw(bytes) {
    this.bytes.push(...bytes);
    return this;
  }
  text(value) {
    const bytes = new TextEncoder().encode(value);
    return this.varint(bytes.length).raw(bytes);
  }
  list(items, write) {
    this.varint(items.length);
    for (const item of items) write(this, item);
    return this;
  }
  option(value, write) {
    this.u8(value === undefined || value === null ? 0 : 1);
    if (value !== undefined && value !== null) write(this, value);
    return this;
  }
}

/** Reads postcard. */
export class Reader {
  at = 0;
  constructor(bytes) {
    this.bytes = bytes;
  }
  u8() {
    if (this.at >= this.bytes.length) throw new Error('truncated');
    return this.bytes[this.at++];
  }
  varint() {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  }
  raw(length) {
    if (length > this.bytes.length - this.at) throw new Error('truncated');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  text() {
    return new TextDecoder().decode(this.raw(this.varint()));
  }
  list(read) {
    return Array.from({ length: this.varint() }, () => read(this));
  }
  rest() {
    return this.bytes.subarray(this.at);
  }
}

export const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** A whole frame. */
export function frame(kind, write) {
  const body = new Writer();
  write(body);
  return Uint8Array.from(new Writer().raw([0x48, kind, 1]).varint(body.bytes.length).raw(body.bytes).bytes);
}

/** Kind, body and what follows. */
export function readFrame(bytes) {
  const reader = new Reader(bytes);
  if (reader.u8() !== 0x48) throw new Error('not a frame');
  const kind = reader.u8();
  if (reader.u8() !== 1) throw new Error('version');
  const body = reader.raw(reader.varint());
  return { kind, body, rest: reader.rest() };
}

export function readHello(body) {
  const r = new Reader(body);
  const versions = r.list(() => r.varint());
  const token = r.u8() ? r.text() : undefined;
  const streams = r.list(() => r.text());
  return { versions, token, streams, sdk: r.text(), capabilities: r.varint() };
}

export function readBatch(body) {
  const r = new Reader(body);
  const pid = hex(r.raw(16));
  const seq = r.varint();
  const behind = r.u8();
  return { pid, seq, lowWater: seq - behind, route: r.varint(), level: r.u8(), payload: r.rest() };
}

export function readResume(body) {
  const r = new Reader(body);
  return { pid: hex(r.raw(16)), lowWater: r.varint() };
}

/** Reasons for dropped events, by tag. */
export const DROPS = {
  1: 'invalid', 2: 'waiting_full', 3: 'outbox_full', 4: 'refused', 5: 'oversized', 6: 'backpressure', 7: 'closed', 8: 'late', 9: 'stream_gone',
};

/** The report and the sections of a payload; states stay bytes. */
export function readPayload(bytes) {
  const r = new Reader(bytes);
  if (r.u8() !== 1) throw new Error('payload version');
  const drops = () => r.list(() => [r.u8(), r.varint()]);
  const events = r.varint();
  const dropped = drops();
  const inDoubt = r.varint();
  if (inDoubt) r.varint();
  const sections = r.list(() => {
    const view = r.varint();
    const version = r.varint();
    const events = r.varint();
    const rejected = drops();
    const groups = r.varint();
    const body = new Reader(r.raw(r.varint()));
    let key = new Uint8Array();
    const keys = Array.from({ length: groups }, (_, i) => {
      const shared = i ? body.varint() : 0;
      key = Uint8Array.from([...key.subarray(0, shared), ...body.raw(body.varint())]);
      return key;
    });
    return { view, version, events, rejected, keys, states: body.rest() };
  });
  if (r.rest().length) throw new Error('trailing bytes');
  return { events, dropped, inDoubt, sections };
}

/** The time that a key of one timestamptz begins with, in milliseconds: `e6`, then big endian what the integer has above 96. */
export function timeOfKey(key) {
  return key[0] === 0xe6 ? Number(BigInt(`0x${Buffer.from(key.subarray(1)).toString('hex')}`)) / 1000 : null;
}

const TYPES = ['boolean', 'smallint', 'integer', 'bigint', 'real', 'double', 'numeric', 'text', 'bytea', 'uuid', 'date', 'timestamptz', 'interval'];

function writeType(w, type) {
  if (typeof type === 'object') w.varint(6).u8(type.precision).u8(type.scale);
  else w.varint(TYPES.indexOf(type));
}

/** A plan may be its bytes. */
function writePlan(w, plan) {
  if (plan instanceof Uint8Array) return w.raw(plan);
  w.varint(plan.view).varint(plan.version).varint(plan.stream);
  w.list(plan.nodes, (w, node) => {
    node.op(w);
    writeType(w, node.type);
  });
  w.option(plan.filter, (w, id) => w.varint(id));
  w.list(plan.keys, (w, id) => w.varint(id));
  w.list(plan.states, (w, state) => {
    state.spec(w);
    w.list(state.args, (w, id) => w.varint(id)).option(state.filter, (w, id) => w.varint(id));
  });
  w.varint(plan.groupsMax ?? 65536);
}

/** Operations and states for plans. */
export const op = {
  column: (index) => (w) => w.varint(0).varint(index),
  text: (value) => (w) => w.varint(1).varint(5).text(value),
  dateTrunc: (unit, time) => (w) => w.varint(13).varint(30).list([unit, time], (w, id) => w.varint(id)),
  lower: (x) => (w) => w.varint(13).varint(11).list([x], (w, id) => w.varint(id)),
  greater: (a, b) => (w) => w.varint(8).varint(9).varint(a).varint(b),
};
export const spec = {
  count: (w) => w.varint(0).u8(0),
  sum: (type) => (w) => {
    w.varint(1);
    writeType(w, type);
  },
  hll: (type, precision) => (w) => {
    w.varint(11);
    writeType(w, type);
    w.u8(precision);
  },
  ddsketch: (ppm) => (w) => w.varint(12).varint(ppm),
  tdigest: (compression) => (w) => w.varint(13).varint(compression),
};

/** `count(*), sum(ms) GROUP BY url` over a stream (id 1) of url text, ms double precision. */
export function countAndSum(view = 1, version = 1) {
  return {
    view, version, stream: 1,
    nodes: [{ op: op.column(0), type: 'text' }, { op: op.column(1), type: 'double' }],
    keys: [0],
    states: [{ spec: spec.count, args: [] }, { spec: spec.sum('double'), args: [1] }],
  };
}

export const VIEWS = { id: 1, name: 'views', fields: [['url', 'text'], ['ms', 'double']] };

function writeStreams(w, streams) {
  w.list(streams, (w, { schema, plans }) => {
    w.varint(schema.id).text(schema.name);
    w.list(schema.fields, (w, [name, type]) => {
      w.text(name);
      writeType(w, type);
    });
    w.list(plans, writePlan);
  });
}

export function welcome({ time = BigInt(Date.now()) * 1000n, boot = 12, catalog = 1, levelMax = 1, streams = [], unknown = [], lifetimeMs = 86_400_000, frameBytesMax = 262_144, cluster = 7 }) {
  return frame(KIND.welcome, (w) => {
    w.varint(1).zigzag(time).varint(boot).varint(catalog).varint(1).varint(levelMax);
    w.varint(frameBytesMax).varint(4096).varint(256).varint(lifetimeMs);
    writeStreams(w, streams);
    w.list(unknown, (w, name) => w.text(name));
    w.raw(Buffer.alloc(16, cluster));
  });
}

export function plans({ catalog, streams, unknown = [] }) {
  return frame(KIND.plans, (w) => {
    w.varint(catalog);
    writeStreams(w, streams);
    w.list(unknown, (w, name) => w.text(name));
  });
}

export const ack = ({ pid, seq, level = 1, epoch = 1 }) =>
  frame(KIND.ack, (w) => w.raw(Buffer.from(pid, 'hex')).varint(seq).varint(level).varint(epoch));

export const refused = ({ pid, seq, code, message = 'no', retryAfterMs = 0 }) =>
  frame(KIND.refused, (w) => w.raw(Buffer.from(pid, 'hex')).varint(seq).varint(REFUSED.indexOf(code)).text(message).varint(retryAfterMs));

export const resumed = ({ pid, floor, bitmap = 0n, level = 1, expired = false }) =>
  frame(KIND.resumed, (w) => w.raw(Buffer.from(pid, 'hex')).varint(floor).varint(bitmap).varint(level).u8(expired ? 1 : 0));

export const clockReply = ({ sent, time }) => frame(KIND.clockReply, (w) => w.raw(sent).zigzag(time));

export const failure = ({ code, message }) =>
  frame(KIND.failure, (w) => w.text(code).text(message).u8(0).u8(0));

/** Lines of a vector file: name and bytes. */
export function vectors(text) {
  const lines = text.split('\n').filter((line) => line && !line.startsWith('#'));
  return new Map(lines.map((line) => line.split('\t')).map(([name, bytes]) => [name, Uint8Array.from(Buffer.from(bytes, 'hex'))]));
}
