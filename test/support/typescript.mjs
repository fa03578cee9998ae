// Lets a child process run the TypeScript of the specs and of lib/: node --import ./test/support/typescript.mjs file.ts
import { readFileSync } from 'node:fs';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import './chance.mjs';

if (isMainThread) register(import.meta.url);

const ROOT = new URL('../../', import.meta.url);
const NAMES = {
  'nest-secure-ws': new URL('lib/index.ts', ROOT).href,
  'nest-secure-ws/guards': new URL('lib/guards/index.ts', ROOT).href,
  'nest-secure-ws/testing': new URL('lib/testing/index.ts', ROOT).href,
};
const OPTIONS = {
  jsc: {
    target: 'es2022',
    keepClassNames: true,
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
  },
  module: { type: 'es6' },
  sourceMaps: 'inline',
};

/** The executable imports the built package; here it runs over the sources. */
const BIN = new URL('bin/', ROOT).href;
const BUILT = '../dist/';

export async function resolve(specifier, context, next) {
  if (specifier.startsWith(BUILT) && context.parentURL?.startsWith(BIN)) {
    const source = specifier.replace(BUILT, 'lib/').replace(/\.js$/, '.ts');
    return { url: new URL(source, ROOT).href, shortCircuit: true };
  }
  if (NAMES[specifier] !== undefined) return { url: NAMES[specifier], shortCircuit: true };
  const isOurs = specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL?.endsWith('.ts');
  return next(isOurs ? specifier.replace(/\.js$/, '.ts') : specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const { transformSync } = await import('@swc/core');
  const filename = fileURLToPath(url);
  const { code } = transformSync(readFileSync(filename, 'utf8'), { ...OPTIONS, filename });
  return { format: 'module', source: code, shortCircuit: true };
}
