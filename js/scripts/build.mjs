// Makes dist/ from src/ and from the modules that build_js wrote into src/generated/:
// wasm-opt, esbuild, tsc, then sizes against the budget.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { report } from './sizes.mjs';
import { shorten, shortNames } from './wasm-names.mjs';

const root = new URL('..', import.meta.url);
const path = (name) => fileURLToPath(new URL(name, root));

/**
 * -O3 and -Oz give the same brotli bytes here, and -O3 a third less time per event. With little inlining, no common
 * subexpressions in locals and data in one piece with its zeros the module is larger, but brotli finds more in it that
 * repeats. The first KiB of memory is the far end of the stack: no pointer is so low that an offset could wrap.
 */
const WASM_OPT = {
  core: [
    '-O3', '--converge', '-ocimfs', '0', '-aimfs', '4', '-fimfs', '10', '--skip-pass=local-cse', '--skip-pass=memory-packing',
    '--low-memory-unused', '--optimize-added-constants', '--strip-target-features', '-g',
  ],
  full: ['-O3'],
};

/** Members of internal classes that modules share: no public name, no name of a built-in, no export of the module. */
const INTERNAL = [
  'invoke', 'lend', 'takeBytes', 'takeText', 'takeNumbers', 'pushAll', 'emitAt', 'emitColumns', 'fillInt', 'fillNull',
  'setInt', 'setNull', 'eventMicros', 'written', 'barrier', 'pump', 'counters', 'isHungry', 'onPlans', 'onClock',
  'onNeedsFull', 'pinnedLimit', 'interned', 'isFull', 'forget', 'happenedAt', 'live', 'fault', 'engine', 'texts', 'tables',
  'trapped', 'others', 'rowsMax', 'good', 'expected',
];

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', cwd: path('.') });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}

function newer(output, input) {
  return existsSync(output) && statSync(output).mtimeMs >= statSync(input).mtimeMs;
}

function optimise(flavor) {
  const input = path(`src/generated/headwater_${flavor}_bg.wasm`);
  const output = path(`src/generated/headwater_${flavor}.opt.wasm`);
  const stamp = `${output}.args`;
  const args = WASM_OPT[flavor].join(' ');
  const same = existsSync(stamp) && readFileSync(stamp, 'utf8') === args;
  if (!same || !newer(output, input)) {
    const trapping = `${output}.panics`;
    run(process.execPath, [path('scripts/wasm-panics.mjs'), input, trapping, flavor]);
    writeFileSync(trapping, shorten(readFileSync(trapping)));
    run(process.execPath, [path('node_modules/binaryen/bin/wasm-opt'), ...WASM_OPT[flavor], trapping, '-o', output]);
    rmSync(trapping);
    if (flavor === 'core') run(process.execPath, [path('scripts/wasm-order.mjs'), output, output]);
    writeFileSync(stamp, args);
  }
  cpSync(output, path(`dist/headwater_${flavor}.wasm`));
}

async function bundle() {
  const functions = shortNames();
  const result = await build({
    absWorkingDir: path('.'),
    entryPoints: ['src/browser.ts', 'src/node.ts', 'src/slim.ts'],
    outdir: 'dist',
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    external: ['node:*'],
    bundle: true,
    splitting: true,
    minify: true,
    // An error's trace in Node shows the whole line; every line break costs bytes.
    lineLimit: 320,
    sourcemap: true,
    sourcesContent: false,
    chunkNames: 'chunks/[name]-[hash]',
    mangleProps: new RegExp(`^(${[...INTERNAL, ...Object.keys(functions)].join('|')})$`),
    mangleCache: functions,
    metafile: true,
    logLevel: 'warning',
  });
  return result.metafile;
}

/** Bundlers look for `new URL("./file", import.meta.url)` as it stands here: a line that ends within it hides the file from them. */
function keepUrlsWhole(file) {
  const broken = /new\s+URL\(\s*"([^"]+)"\s*,\s*import\s*\.\s*meta\s*\.\s*url\s*\)/g;
  const code = readFileSync(file, 'utf8').replace(broken, 'new URL("$1",import.meta.url)');
  for (const flavor of ['core', 'full']) {
    const whole = `new URL("./headwater_${flavor}.wasm",import.meta.url)`;
    if (!code.includes(whole)) throw new Error(`${file} has no ${whole}`);
  }
  writeFileSync(file, code);
}

rmSync(path('dist'), { recursive: true, force: true });
mkdirSync(path('dist'), { recursive: true });
optimise('core');
optimise('full');
const metafile = await bundle();
keepUrlsWhole(path('dist/browser.js'));
run(process.execPath, [path('node_modules/typescript/bin/tsc'), '-p', path('tsconfig.json')]);
// The declarations name the module's functions; wasm-bindgen's own class needs a newer `lib` than users have.
mkdirSync(path('dist/generated'));
const [exports] = /export interface InitOutput \{[^}]*\}/.exec(readFileSync(path('src/generated/headwater_core.d.ts'), 'utf8'));
writeFileSync(path('dist/generated/headwater_core.d.ts'), `${exports}\n`);
// What is over its budget works: that is for those who change the package, not for those who build it.
if (!report(path('dist'), metafile) && process.argv.includes('--budget')) process.exit(1);
