// Drops each marked protection from a copy of lib/ and runs its attack, which must then fail.
//   node scripts/protections.mjs [words]        only protections whose name or file contains one of the words
// A protection is the code between `// protection: NAME` and `// end protection` in lib/; blocks with the same name are
// dropped together. `test/protections.json` names the spec of each attack and its title, or a part of the title.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const BEGIN = /^\s*\/\/ protection: (.+)$/;
const END = /^\s*\/\/ end protection$/;
const COPIED = ['lib', 'test', 'sample', 'scripts', 'package.json', 'jest.config.mjs', 'tsconfig.json', 'README.md'];

/** Every marked block: its name, its file, and the lines of its two markers. */
export function markedProtections(root = '.') {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return files.sort().flatMap((file) => {
    const path = join('lib', file);
    const found = [];
    let open;
    for (const [index, line] of readFileSync(join(root, path), 'utf8').split('\n').entries()) {
      const name = BEGIN.exec(line)?.[1];
      const ends = END.test(line);
      if ((name !== undefined && open !== undefined) || (ends && open === undefined))
        throw new Error(`${path}:${index + 1}: a protection begins inside another, or none ends here`);
      if (name !== undefined) open = { name, path, first: index };
      if (!ends) continue;
      found.push({ ...open, last: index });
      open = undefined;
    }
    if (open !== undefined) throw new Error(`${path}: protection '${open.name}' has no end`);
    return found;
  });
}

/** The text of a file without some of its blocks, or the unchanged text without `blocks`. */
export function textWithout(path, blocks) {
  const own = blocks.filter((block) => block.path === path);
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((_, index) => !own.some(({ first, last }) => index >= first && index <= last)).join('\n');
}

/** A title as a pattern for Jest's `-t`, which is a regular expression. */
const escaped = (title) => title.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** Runs the tests of a spec whose title contains one of `titles`; returns the full titles of the passed and the failed ones. */
function runSpec(root, spec, titles) {
  const report = join(root, 'report.json');
  rmSync(report, { force: true });
  const { status } = spawnSync(
    process.execPath,
    [
      ...[
        '--experimental-vm-modules',
        '--disable-warning=ExperimentalWarning',
        resolve('node_modules/jest/bin/jest.js'),
      ],
      ...['--runInBand', '--forceExit', '--json', '--outputFile', report],
      ...['--runTestsByPath', spec, '-t', titles.map(escaped).join('|')],
    ],
    { cwd: root, stdio: 'ignore', timeout: 180_000 },
  );
  try {
    const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
    const ran = testResults.flatMap(({ assertionResults }) => assertionResults);
    const titled = (wanted) => ran.filter((each) => each.status === wanted).map(({ fullName }) => fullName);
    // A spec that cannot be loaded has no test results.
    return { passed: titled('passed'), failed: titled('failed'), isBroken: status !== 0 };
  } catch {
    // The process ended early: by an uncaught error, or at its time limit.
    return { passed: [], failed: [], isBroken: true };
  }
}

/** The names of `names` whose attack passes while nothing is dropped. */
function sound(root, names, attacks) {
  const specs = new Set(names.map((name) => attacks[name].spec));
  return new Set(
    [...specs].flatMap((spec) => {
      const of = names.filter((name) => attacks[name].spec === spec);
      const { passed, failed } = runSpec(root, spec, [...new Set(of.map((name) => attacks[name].test))]);
      const has = (titles, name) => titles.some((title) => title.includes(attacks[name].test));
      return of.filter((name) => has(passed, name) && !has(failed, name));
    }),
  );
}

function run(words) {
  const attacks = JSON.parse(readFileSync('test/protections.json', 'utf8'));
  const blocks = markedProtections();
  const isMeant = ({ name, path }) => words.length === 0 || words.some((word) => `${name} ${path}`.includes(word));
  const names = [...new Set(blocks.filter(isMeant).map(({ name }) => name))];
  const root = mkdtempSync(join(tmpdir(), 'protections-'));
  const verdicts = [];
  try {
    for (const item of COPIED)
      cpSync(item, join(root, item), { recursive: true, filter: (path) => !/\/dist(\/|$)/.test(path) });
    symlinkSync(resolve('node_modules'), join(root, 'node_modules'));
    const isSound = sound(root, names, attacks);
    for (const name of names) {
      const own = blocks.filter((block) => block.name === name);
      const paths = new Set(own.map(({ path }) => path));
      for (const path of paths) writeFileSync(join(root, path), textWithout(path, own));
      const { spec, test } = attacks[name];
      const { failed, isBroken } = isSound.has(name) ? runSpec(root, spec, [test]) : { failed: [], isBroken: false };
      for (const path of paths) writeFileSync(join(root, path), textWithout(path, []));
      const verdict = !isSound.has(name)
        ? 'NO ATTACK PASSES'
        : failed.length > 0 || isBroken
          ? 'noticed'
          : 'NOT NOTICED';
      verdicts.push(verdict);
      console.log(`${verdict.padEnd(17)} ${name}`);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  const noticed = verdicts.filter((verdict) => verdict === 'noticed').length;
  console.log(`${noticed} of ${names.length} protections are noticed when they are missing`);
  process.exitCode = noticed === names.length ? 0 : 1;
}

if (process.argv[1] === import.meta.filename) run(process.argv.slice(2));
