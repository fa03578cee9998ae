/**
 * Takes each protection out in turn, in a copy of the repository, and runs the test that must notice.
 *
 *     node scripts/without.mjs               all of them; ends with 1 when one was not missed
 *     node scripts/without.mjs --only rate   those whose name matches /rate/
 *     node scripts/without.mjs --jobs 1      copies that work at the same time (default 2)
 *     node scripts/without.mjs --found a.json   what was found is kept there, and not looked for again
 *     node scripts/without.mjs --write       what was found goes into the table of test/PROTECTIONS.md
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PROTECTIONS } from './protections.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const COPIED = ['lib', 'test', 'scripts', 'sample', 'package.json', 'jest.config.mjs', 'tsconfig.json', 'README.md'];
const TABLE = join(ROOT, 'test', 'PROTECTIONS.md');
/** Milliseconds for one run of one file. */
const RUN_TIMEOUT = 180_000;
/** What a mutation that is itself wrong ends in. */
const OWN_FAULT = /^ReferenceError\b/;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    found: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});

/** A copy of the repository in which files can be changed and put back. */
class Copy {
  root = mkdtempSync(join(tmpdir(), 'without-'));

  constructor() {
    for (const name of COPIED) cpSync(join(ROOT, name), join(this.root, name), { recursive: true, filter: isSource });
    symlinkSync(join(ROOT, 'node_modules'), join(this.root, 'node_modules'));
  }

  /** What became of the tests of some protections that are one and the same change. */
  async without(protections) {
    const [{ edits, spec }] = protections;
    const tests = protections.map(({ test }) => test);
    const originals = new Map();
    try {
      for (const [file, find, replace] of edits) {
        const path = join(this.root, file);
        const text = readFileSync(path, 'utf8');
        if (!originals.has(path)) originals.set(path, text);
        writeFileSync(path, changed(text, find, replace, file));
      }
      const report = await jest(this.root, [spec], pattern(tests), ['--runInBand']);
      return tests.map((test) => verdictOf(report, spec, test));
    } finally {
      for (const [path, text] of originals) writeFileSync(path, text);
    }
  }

  remove() {
    rmSync(this.root, { recursive: true, force: true });
  }
}

const isSource = (path) => !/[\\/](?:node_modules|dist)(?:[\\/]|$)/.test(path);

function changed(text, find, replace, file) {
  if (text.split(find).length !== 2) throw new Error(`${file} holds this not exactly once: ${find}`);
  return text.replace(find, () => replace);
}

/** Jest's own report; `undefined` where it came to no end. */
function jest(root, specs, names, args = []) {
  const output = join(root, `report-${process.hrtime.bigint()}.json`);
  const bin = join('node_modules', 'jest', 'bin', 'jest.js');
  const node = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', bin];
  const flags = ['--json', `--outputFile=${output}`, `--cacheDirectory=${join(root, '.jest')}`, '--forceExit'];
  const child = spawn(process.execPath, [...node, ...specs, '-t', names, ...flags, ...args], {
    cwd: root,
    stdio: 'ignore',
    timeout: RUN_TIMEOUT * specs.length,
    killSignal: 'SIGKILL',
  });
  return new Promise((resolve) => child.once('close', () => resolve(parsed(output))));
}

/** What a file of JSON holds; `undefined` where there is none. */
function parsed(output) {
  try {
    return JSON.parse(readFileSync(output, 'utf8'));
  } catch {
    return undefined;
  }
}

const pattern = (names) => names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');

const testsOf = ({ testResults }, spec) => testResults.find(({ name }) => name.endsWith(spec))?.assertionResults ?? [];

/** What became of the test without its protection. */
function verdictOf(report, spec, test) {
  if (report === undefined) return { outcome: 'broken', why: 'Jest came to no end' };
  const tests = testsOf(report, spec).filter(({ fullName }) => fullName.includes(test));
  const failed = tests.find(({ status }) => status === 'failed');
  if (failed === undefined)
    return tests.some(({ status }) => status === 'passed')
      ? { outcome: 'survived' }
      : { outcome: 'broken', why: 'no test has run' };
  const why = plain(failed.failureMessages[0] ?? '').split('\n', 1)[0];
  return { outcome: OWN_FAULT.test(why) ? 'broken' : 'killed', test: failed.fullName, why };
}

/** Without colours. */
const plain = (text) => text.replace(/\x1b\[[0-9;]*m/g, '');

/** With everything in its place all tests must pass, and every name must be that of a test. */
async function checkWhole(copy, protections) {
  const specs = [...new Set(protections.map(({ spec }) => spec))];
  const names = [...new Set(protections.map(({ test }) => test))];
  const report = await jest(copy.root, specs, pattern(names));
  if (report === undefined) return ['Jest came to no end'];
  const failed = report.testResults.flatMap(({ assertionResults, message }) => [
    ...assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => `fails anyway: ${fullName}`),
    ...(assertionResults.length === 0 ? [plain(message)] : []),
  ]);
  const missing = protections
    .filter(({ spec, test }) => !testsOf(report, spec).some(({ fullName }) => fullName.includes(test)))
    .map(({ name, spec, test }) => `${name}: no test '${test}' in ${spec}`);
  return [...failed, ...missing];
}

async function work(copy, queue, results) {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const since = performance.now();
    const found = await copy
      .without(next)
      .catch(({ message }) => next.map(() => ({ outcome: 'broken', why: message })));
    const seconds = ((performance.now() - since) / 1000).toFixed(1);
    next.forEach((protection, at) => {
      const result = found[at];
      results.set(protection.name, result);
      if (options.found !== undefined) writeFileSync(options.found, JSON.stringify([...results]));
      console.error(`${result.outcome.padEnd(8)} ${seconds.padStart(5)} s  ${protection.name}  ${result.why ?? ''}`);
    });
  }
}

const foundBefore = () => (options.found === undefined ? [] : (parsed(options.found) ?? []));

/** Those that are one and the same change, seen by the same file, together. */
function together(protections) {
  const groups = new Map();
  for (const protection of protections) {
    const key = JSON.stringify([protection.spec, protection.edits]);
    groups.set(key, [...(groups.get(key) ?? []), protection]);
  }
  return [...groups.values()];
}

const cell = (text) => text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim();
const code = (text) => (text === '' ? 'nothing' : `\`${cell(text)}\``);

function tableRow({ name, row, edits, spec }, { outcome, test, why }) {
  const mutation = edits.map(([file, find, replace]) => `${file}: ${code(find)} → ${code(replace)}`).join('<br>');
  const noticed = outcome === 'killed' ? `${spec}: ${cell(test)}` : `**${outcome}** ${cell(why ?? '')}`;
  return `| ${cell(name)} | ${cell(row)} | ${mutation} | ${noticed} |`;
}

/** The rows of the table as it stands, by name. */
const rowsOf = (text) => new Map(text.split('\n').map((line) => [line.split(' | ', 1)[0].slice(2), line]));

/** The table with what was found; rows of protections that were not tried stay as they are. */
function page(results) {
  const before = rowsOf(readFileSync(TABLE, 'utf8'));
  const rows = PROTECTIONS.flatMap((each) => {
    const result = results.get(each.name);
    return result === undefined ? (before.get(cell(each.name)) ?? []) : tableRow(each, result);
  });
  const noticed = rows.filter((row) => !/ \| \*\*\w+\*\* [^|]*\|$/.test(row));
  return `# Every protection, taken out

Written by \`node scripts/without.mjs --write\`: in a copy of the repository each protection of \`scripts/protections.mjs\`
is taken out by the change that is shown, and the test that is named must fail then, having passed before. Where two
checks hold the same line, both are taken out.

Tests noticed ${noticed.length} of ${PROTECTIONS.length}.

| protection | option, or stage of the contract | what was changed | which test failed |
|---|---|---|---|
${rows.join('\n')}
`;
}

async function main() {
  const protections = PROTECTIONS.filter(({ name }) => new RegExp(options.only ?? '').test(name));
  const copies = Array.from({ length: Number(options.jobs) }, () => new Copy());
  const results = new Map(foundBefore());
  const missing = protections.filter(({ name }) => !results.has(name));
  try {
    const problems = missing.length === 0 ? [] : await checkWhole(copies[0], missing);
    if (problems.length > 0) throw new Error(`before anything is taken out:\n${problems.join('\n')}`);
    const queue = together(missing);
    await Promise.all(copies.map((copy) => work(copy, queue, results)));
  } finally {
    for (const copy of copies) copy.remove();
  }
  for (const each of protections) console.log(tableRow(each, results.get(each.name)));
  if (options.write) writeFileSync(TABLE, page(results));
  const missed = protections.filter((each) => results.get(each.name).outcome !== 'killed');
  for (const each of missed) console.error(`${results.get(each.name).outcome}: ${each.name}`);
  process.exitCode = missed.length === 0 ? 0 : 1;
}

await main();
