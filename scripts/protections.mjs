// Drops each marked protection from a copy of lib/ and runs the attack that must then succeed: its spec must fail.
//   node scripts/protections.mjs [words]        only protections whose name contains all words
// A protection is what stands between `// protection: NAME` and `// end protection` in lib/. `test/protections.json`
// names the spec and the title of the test that notices its absence.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const BEGIN = /^\s*\/\/ protection: (.+)$/;
const END = /^\s*\/\/ end protection$/;
const COPIED = ['lib', 'test', 'sample', 'scripts', 'bench', 'package.json', 'jest.config.mjs', 'tsconfig.json', 'README.md'];

/** Every marked block: its name, its file, its first and last line (the markers). */
export function markedProtections(root = '.') {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return files.flatMap((file) => {
    const path = join('lib', file);
    const found = [];
    let open;
    for (const [index, line] of readFileSync(join(root, path), 'utf8').split('\n').entries()) {
      const name = BEGIN.exec(line)?.[1];
      if ((name !== undefined) !== (open === undefined) && (name !== undefined || END.test(line)))
        throw new Error(`${path}:${index + 1}: a protection begins inside another, or none ends here`);
      if (name !== undefined) open = { name, path, first: index };
      else if (open !== undefined && END.test(line)) {
        found.push({ ...open, last: index });
        open = undefined;
      }
    }
    if (open !== undefined) throw new Error(`${path}: protection '${open.name}' has no end`);
    return found;
  });
}

function drop(root, blocks) {
  for (const path of new Set(blocks.map((block) => block.path))) {
    const own = blocks.filter((block) => block.path === path);
    const lines = readFileSync(path, 'utf8').split('\n');
    const kept = lines.filter((_, index) => !own.some(({ first, last }) => index >= first && index <= last));
    writeFileSync(join(root, path), kept.join('\n'));
  }
}

function isNoticed(root, { spec, test }) {
  const jest = resolve('node_modules/jest/bin/jest.js');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--experimental-vm-modules', jest, '--runTestsByPath', spec, '-t', test],
    { cwd: root, encoding: 'utf8', timeout: 180_000 },
  );
  // No test of that title counts as unnoticed: then nothing was shown.
  return { noticed: status !== 0, ran: /Tests: .*(passed|failed)/.test(stderr + stdout) };
}

function run(words) {
  const attacks = JSON.parse(readFileSync('test/protections.json', 'utf8'));
  const blocks = markedProtections();
  const names = [...new Set(blocks.map(({ name }) => name))].filter((name) => words.every((word) => name.includes(word)));
  const root = mkdtempSync(join(tmpdir(), 'protections-'));
  const unnoticed = [];
  try {
    for (const item of COPIED) cpSync(item, join(root, item), { recursive: true, filter: (path) => !/\/dist(\/|$)/.test(path) });
    symlinkSync(resolve('node_modules'), join(root, 'node_modules'));
    for (const name of names) {
      const own = blocks.filter((block) => block.name === name);
      drop(root, own);
      const { noticed, ran } = isNoticed(root, attacks[name]);
      for (const { path } of own) cpSync(path, join(root, path));
      const verdict = noticed && ran ? 'noticed' : ran ? 'NOT NOTICED' : 'NO TEST RAN';
      console.log(`${verdict.padEnd(12)} ${name}`);
      if (verdict !== 'noticed') unnoticed.push(name);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  console.log(`${names.length - unnoticed.length} of ${names.length} protections are noticed when they are missing`);
  process.exitCode = unnoticed.length === 0 ? 0 : 1;
}

if (process.argv[1] === import.meta.filename) run(process.argv.slice(2));
