/** What every entry point exports beside `Headwater`. */
export type { ColumnValues } from './column.ts';
export { Interned } from './dictionary.ts';
export { type ErrorCode, HeadwaterError, type ValueFault } from './errors.ts';
export type { Client, ConnectOptions } from './headwater.ts';
export type { QueryOptions } from './query.ts';
export type { WasmInput, WasmSource } from './module.ts';
export type { Stream, Writer } from './stream.ts';
export type { SendOptions, Transport, TransportError } from './transport.ts';
export type { AckLevel, ColumnInfo, EventOf, EventValues, Interval, Rows, Stats, Value } from './types.ts';
