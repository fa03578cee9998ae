// Joins what the compiler wrote into build/ to the few files of dist/, and copies the declarations. Few files, because
// each module that Node loads takes time and memory at start. The entry points of the package share chunks, so that a
// class is the same one whichever entry point it is imported from. Nothing is minified: stack traces stay readable.
//
//     node scripts/bundle.mjs
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const FROM = join(root, 'build');
const TO = join(root, 'dist');
const ENTRIES = ['index', 'guards/index', 'testing/index', 'cli/index'];
/** Remains a file of its own, which `index.js` imports before everything else. */
const RUNTIME = 'compat/runtime.js';

const compiled = readdirSync(FROM, { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'));
const classes = new Set(
  compiled.filter((file) => file.endsWith('.js')).flatMap((file) => classesOf(readFileSync(join(FROM, file), 'utf8'))),
);
const { outputFiles } = await esbuild.build({
  entryPoints: ENTRIES.map((name) => join(FROM, `${name}.js`)),
  outbase: FROM,
  outdir: TO,
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  packages: 'external',
  target: 'node20',
  logLevel: 'warning',
  absWorkingDir: root,
  write: false,
  plugins: [{ name: 'runtime', setup: (build) => build.onResolve({ filter: /\/runtime\.js$/ }, externalRuntime) }],
});
const files = outputFiles.map(({ path, text }) => ({ path, text: withNames(text) }));
for (const { path, text } of files) check(path, text);
rmSync(TO, { recursive: true, force: true });
for (const { path, text } of files) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, path === join(TO, 'index.js') ? runtimeFirst(text) : text);
}
const copied = compiled.filter((file) => file === RUNTIME || (file.endsWith('.d.ts') && !file.startsWith('cli/')));
for (const file of copied) cpSync(join(FROM, file), join(TO, file));

function externalRuntime({ path, importer }) {
  if (join(dirname(importer), path) !== join(FROM, RUNTIME)) return undefined;
  return { path: `./${RUNTIME}`, external: true, sideEffects: true };
}

/** The bundler puts the chunks first. */
function runtimeFirst(text) {
  const statement = `import "./${RUNTIME}";\n`;
  if (text.split(statement).length !== 2) throw new Error(`dist/index.js does not import ${RUNTIME} once`);
  return statement + text.replace(statement, '');
}

/** `var Name = class Name2` or `_Name`, which the bundler makes of classes that name themselves, with the name of the class again. */
function withNames(text) {
  const renamed = text.matchAll(/\bvar (\w+) = (?:\w+ = )?class (_\1\d*|\1\d+)\b/g);
  return [...renamed].reduce((all, [, name, inner]) => all.replaceAll(new RegExp(`\\b${inner}\\b`, 'g'), name), text);
}

function check(path, text) {
  // V8 holds the source with two bytes for each character if one of them is not in Latin-1.
  const wide = /.*[^\0-\xff].*/.exec(text);
  if (wide !== null) throw new Error(`${path}: write this with \\u escapes: ${wide[0].trim()}`);
  // Nest names providers by their classes, and errors have the names of theirs.
  const renamed = classesOf(text).filter((name) => !classes.has(name));
  if (renamed.length > 0) throw new Error(`two classes have the same name; one was renamed ${renamed.join(', ')}`);
}

function classesOf(text) {
  return [...text.matchAll(/\bclass (?!extends\b)(\w+)/g)].map(([, name]) => name);
}
