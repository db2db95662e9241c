// A user's file: compiled, never run. Each line marked with an error must be one.
import { Headwater, HeadwaterError, type AckLevel, type EventValues, type Rows, type Stats } from 'headwater';
import { Headwater as Slim } from 'headwater/slim';

interface View {
  url: string;
  ms: number;
  referrer?: string;
}

const hw = Headwater.connect({ url: 'http://127.0.0.1:7171', ackLevel: 'durable', onError: (error) => note(error) });
// @ts-expect-error no such level
Headwater.connect({ url: '', ackLevel: 'maybe' });
// @ts-expect-error a hub is needed
Headwater.connect({});

function note(error: HeadwaterError): string {
  return `${error.code} ${error.stream ?? ''} ${error.column ?? ''} ${error.position ?? 0} ${error.hint ?? ''} ${error.dropped ?? 0} ${error.inDoubt ?? 0}`;
}

const refused: HeadwaterError | undefined = hw.emit('views', { url: '/', ms: 1, at: new Date(), big: 1n, gone: null });
// @ts-expect-error functions are no values
hw.emit('views', { url: () => '/' });
// @ts-expect-error no object
hw.emit('views', '/');
// @ts-expect-error no columns
hw.emit('views', ['/']);
// @ts-expect-error may be missing
hw.emit('views', null);
const view: View = { url: '/', ms: 1 };
hw.emit('views', view);
hw.emit('views', {});
const unknownShape: EventValues = { url: '/', ms: null };
hw.emit('views', unknownShape);

const stream = hw.stream<View>('views');
stream.emit({ url: '/', ms: 1 });
stream.emit(view);
// @ts-expect-error a column of another type
stream.emit({ url: 1, ms: 1 });
stream.writer('url', 'ms').emit(hw.intern('/'), 1);
stream.columns({ url: Uint32Array.of(stream.intern('/').id), ms: new Float64Array(1) });

export async function read(level: AckLevel): Promise<number> {
  await hw.flush(level, { timeoutMs: 1000 });
  const rows: Rows<{ url: string; n: number }> = await hw.query<{ url: string; n: number }>('SELECT url, n FROM v');
  const names: string[] = rows.columns.map((column) => column.name);
  const untyped = await hw.query('SELECT 1');
  const value: unknown = untyped[0]?.['n'];
  const stats: Stats = await hw.close({ timeoutMs: 1 });
  return rows.length + names.length + stats.delivered + stats.inDoubt + (value === undefined ? 0 : 1) + (refused ? 1 : 0);
}

export const slim = Slim.connect({ url: '', wasm: { core: new Uint8Array(), full: () => fetch('/full.wasm') } });
