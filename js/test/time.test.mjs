// Text is one time everywhere: by the rules of the SDK core, whatever the time zone of the page.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { transformSync } from 'esbuild';

const source = readFileSync(new URL('../src/time.ts', import.meta.url), 'utf8');
const MODULE = `data:text/javascript,${encodeURIComponent(transformSync(source, { loader: 'ts' }).code)}`;
const { parseDate, parseTimestamp } = await import(MODULE);

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TEN = Date.UTC(2026, 10, 20, 10);

const timestamps = [
  ['2026-11-20', TEN - 10 * HOUR, 0],
  ['2026-11-20 10:00:00', TEN, 0],
  ['2026-11-20T10:00', TEN, 0],
  ['2026-11-20t10:00:00z', TEN, 0],
  [' \t2026-11-20 10:00:00 Z\n', TEN, 0],
  ['2026-11-20 10:00:00+05:30', TEN - 5.5 * HOUR, 0],
  ['2026-11-20 10:00:00 -0800', TEN + 8 * HOUR, 0],
  ['2026-11-20 10:00:00+09', TEN - 9 * HOUR, 0],
  ['2026-11-20T10:00:00.123456Z', TEN, 123_456],
  ['2026-11-20T10:00:00.5Z', TEN, 500_000],
  ['2026-11-20T10:00:00.1234565', TEN, 123_457],
  ['2026-11-20T10:00:00.9999999', TEN, 1_000_000],
  ['2026-11-20T24:00:00', TEN + 14 * HOUR, 0],
  ['2026-11-20T10:59:60', TEN + HOUR, 0],
  ['0001-01-01T00:00:00Z', -62_135_596_800_000, 0],
  ['012026-01-01', Date.UTC(12026, 0, 1), 0],
];
const noTimestamps = [
  '', 'now', '1', 'foo 12', '11/20/2026', '2026-02-29', '2026-13-01', '2026-00-01', '2026-11-00', '0000-01-01', '2026-1-1',
  '26-11-20', '2026-11-20T', '2026-11-20 10', '2026-11-20 10:60', '2026-11-20 25:00', '2026-11-20 24:00:01', '2026-11-20 10:00:61',
  '2026-11-20 24:00:00.5', '2026-11-20 10:00:00+16', '2026-11-20 10:00:00+01:60', '2026-11-20 10:00:00.', '2026-11-20 10:00:00 UTC',
  'Fri, 20 Nov 2026 10:00:00 GMT', '2026-11-20T10:00:00Zulu', '\u00a02026-11-20', '\u0662026-11-20',
];

test('timestamps are read as the SDK core reads them', () => {
  for (const [text, ms, micros] of timestamps) assert.deepEqual(parseTimestamp(text), { ms, micros }, text);
  for (const text of noTimestamps) assert.equal(parseTimestamp(text), undefined, text);
  assert.ok(Number.isNaN(parseTimestamp('275761-01-01').ms), 'a day that no Date holds is out of range');
});

test('dates are days, and only days that are there', () => {
  for (const [text, day] of [['1970-01-02', DAY], [' 2024-02-29 ', Date.UTC(2024, 1, 29)], ['0099-03-01', -59_037_897_600_000]]) {
    assert.equal(parseDate(text), day, text);
  }
  for (const text of ['2026-02-31', '2026-11-20T10:00', '11/20/2026', '2026-11-20x', '20261120', '']) {
    assert.equal(parseDate(text), undefined, text);
  }
});

test('a time zone changes nothing', () => {
  const script = `import(${JSON.stringify(MODULE)}).then((t) => console.log(t.parseTimestamp('2026-11-20 10:00:00').ms, t.parseDate('2026-11-20')))`;
  for (const TZ of ['Asia/Tokyo', 'America/Los_Angeles', 'UTC']) {
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { env: { ...process.env, TZ }, encoding: 'utf8' });
    assert.equal(out.trim(), `${TEN} ${TEN - 10 * HOUR}`, TZ);
  }
});

test("the vectors of the core's casts hold", () => {
  const vectors = readFileSync(new URL('../../tests/vectors/expressions.txt', import.meta.url), 'utf8');
  const casts = [...vectors.matchAll(/^cast\(text '(.*)' as (date|timestamptz)\)\t[^\t]*\t(.*)$/gm)];
  assert.ok(casts.length > 20, 'the vectors have such casts');
  for (const [, text, type, answer] of casts) {
    const time = type === 'date' ? { ms: parseDate(text), micros: 0 } : parseTimestamp(text);
    const micros = time?.ms === undefined ? undefined : time.ms * 1000 + time.micros;
    assert.equal(micros, answer.startsWith('=') ? printedMicros(answer.slice(1)) : undefined, text);
  }
});

/** What the core prints, by Date's own reader, which knows it with six digits of a year, a `T` and a `Z`. */
function printedMicros(printed) {
  const [, day, time = '00:00:00', fraction = ''] = /^(\S+)(?: (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00)?$/.exec(printed);
  return Date.parse(`+${day.padStart(12, '0')}T${time}Z`) * 1000 + Number(fraction.padEnd(6, '0'));
}
