/** What is loaded with the first event, beside the WASM module: the micro core only buffers until then. */
export { Engine } from './engine.ts';
export { HttpFrames } from './frames.ts';
export { compile, load } from './module.ts';
export { Producer } from './producer.ts';
