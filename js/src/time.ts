/**
 * Times as text, in every time zone the same.
 *
 * Owns: what the SDK core reads as a date or a timestamp (`expr/time_text.rs`), so that a page, a service and a query
 * take one text for one time. `Date.parse` would read `'2026-11-20 10:00'` by the page's time zone, `'1'` as a year,
 * and lose microseconds. Must not know: columns.
 */

const DATE = String.raw`^[ \t\n\f\r]*(\d{4,6})-(\d\d)-(\d\d)`;
const TIME = String.raw`[Tt ](\d\d):(\d\d)(?::(\d\d))?(?:\.(\d+))?[ \t\n\f\r]*(?:[Zz]|([+-])(\d\d):?(\d\d)?)?`;
const END = String.raw`[ \t\n\f\r]*$`;
const DATE_ONLY = new RegExp(DATE + END);
const TIMESTAMP = new RegExp(`${DATE}(?:${TIME})?${END}`);
const MINUTE_MS = 60_000;

/** Milliseconds of a day's start since 1970-01-01; undefined when there is no such day, NaN beyond year 275,760. */
function dayMs([, year, month, day]: RegExpExecArray): number | undefined {
  const date = new Date(0);
  const ms = date.setUTCFullYear(+year, +month - 1, +day);
  return +year && (ms !== ms || (date.getUTCMonth() === +month - 1 && date.getUTCDate() === +day)) ? ms : undefined;
}

function minutes(hours = '0', rest = '0'): number {
  return +hours * 60 + +rest;
}

/** `YYYY-MM-DD` as milliseconds since 1970-01-01; undefined when it is no date. */
export function parseDate(text: string): number | undefined {
  const parts = DATE_ONLY.exec(text);
  return parts ? dayMs(parts) : undefined;
}

/**
 * RFC 3339 and its usual relatives (a blank for the `T`, no seconds, no time, no offset, which is UTC) as milliseconds
 * since 1970-01-01T00:00Z and the microseconds on top; undefined when it is no time.
 */
export function parseTimestamp(text: string): { ms: number; micros: number } | undefined {
  const parts = TIMESTAMP.exec(text);
  const day = parts ? dayMs(parts) : undefined;
  if (!parts || day === undefined) return undefined;
  const [hour, minute, second, fraction = '', sign, east, west] = parts.slice(4);
  const micros = +fraction.slice(0, 6).padEnd(6, '0') + (fraction[6] >= '5' ? 1 : 0);
  const ms = minutes(hour, minute) * MINUTE_MS + +(second ?? 0) * 1000;
  // 24:00 and a leap second are times; nothing is later than the end of its day.
  if (+minute > 59 || +second > 60 || (+hour > 23 && (ms > 1440 * MINUTE_MS || micros)) || +east > 15 || +west > 59) return undefined;
  return { ms: day + ms - minutes(east, west) * (sign === '-' ? -MINUTE_MS : MINUTE_MS), micros };
}
