// node bench/run.mjs [--quick] [--only name[,name]] [--servers bare,ours,nestWs,nestIo] [--turns n] [--out folder]
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { broadcast, broadcastBursts, broadcastCompressed } from './rows/broadcast.mjs';
import { echo, echoClient, echoCompressed, echoListener } from './rows/echo.mjs';
import { handshake, refusalGrowth, refusals } from './rows/handshake.mjs';
import { many } from './rows/many.mjs';
import { memory, memoryCompressed } from './rows/memory.mjs';
import { observed } from './rows/observed.mjs';
import { start } from './rows/start.mjs';
import { tlsEcho, tlsHandshake, tlsMemory } from './rows/tls.mjs';
import { Bench } from './support/bench.mjs';
import { chart } from './support/chart.mjs';
import { markdown, textOf } from './support/table.mjs';

const GROUPS = {
  memory,
  'memory-compressed': memoryCompressed,
  echo,
  'echo-listener': echoListener,
  'echo-client': echoClient,
  'echo-compressed': echoCompressed,
  broadcast,
  'broadcast-bursts': broadcastBursts,
  'broadcast-compressed': broadcastCompressed,
  handshake,
  refusals,
  growth: refusalGrowth,
  start,
  many,
  observed,
  'tls-memory': tlsMemory,
  'tls-echo': tlsEcho,
  'tls-handshake': tlsHandshake,
};
const RESULTS = fileURLToPath(new URL('./results', import.meta.url));
const BUILT = fileURLToPath(new URL('../dist/index.js', import.meta.url));
const MINUTE = 60_000;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    servers: { type: 'string' },
    turns: { type: 'string' },
    out: { type: 'string' },
  },
});
const servers = values.servers?.split(',');
const bench = new Bench({ quick: values.quick, only: servers, rounds: values.turns && Number(values.turns) });

async function main() {
  if ((!servers || servers.includes('ours')) && !existsSync(BUILT)) {
    throw new Error('nest-secure-ws is not built: `npm run build` first, or --servers bare,nestWs,nestIo');
  }
  const machine = describeMachine();
  console.log(`Node ${machine.node}, ${machine.cores} × ${machine.cpu}, load ${machine.load.join(' ')}\n`);
  bench.start();
  const rows = [];
  for (const [name, group] of Object.entries(chosenGroups())) rows.push(...(await measured(name, group)));
  const folder = values.out ?? (values.quick ? undefined : RESULTS);
  if (folder) await write(folder, machine, rows);
}

function chosenGroups() {
  const names = values.only?.split(',') ?? Object.keys(GROUPS);
  const unknown = names.filter((name) => !(name in GROUPS));
  if (unknown.length > 0) throw new Error(`no such row: ${unknown}. There are: ${Object.keys(GROUPS).join(', ')}`);
  return Object.fromEntries(names.map((name) => [name, GROUPS[name]]));
}

async function measured(name, group) {
  const started = Date.now();
  const rows = (await group(bench)).map((row) => row.summary()).filter((row) => Object.keys(row.servers).length > 0);
  for (const row of rows) console.log(`${textOf(row)}\n`);
  console.log(`[${name}: ${((Date.now() - started) / 1000).toFixed(0)} s]\n`);
  return rows;
}

/** A run of some rows replaces only those rows; ratios never mix runs. */
async function write(folder, machine, rows) {
  const earlier = values.only ? await readRows(join(folder, 'results.json')) : [];
  const fresh = new Map(rows.map((row) => [row.id, row]));
  const kept = earlier.map((row) => fresh.get(row.id) ?? row);
  const results = { machine, rows: [...new Map([...kept, ...rows].map((row) => [row.id, row])).values()] };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  await writeFile(join(folder, 'table.md'), markdown(results));
  await writeFile(join(folder, 'chart.svg'), chart(results));
}

async function readRows(file) {
  return existsSync(file) ? JSON.parse(await readFile(file, 'utf8')).rows : [];
}

function describeMachine() {
  const load = loadavg().map((value) => Number(value.toFixed(2)));
  const cpu = cpus()[0]?.model ?? 'unknown';
  return { node: process.versions.node, cpu, cores: availableParallelism(), load, date: new Date().toISOString() };
}

async function end(code, message) {
  if (message) console.error(message);
  await bench.stop();
  process.exit(code);
}

const limit = (values.quick ? 6 : 40) * MINUTE;
setTimeout(() => end(2, `stopped: not done after ${limit / MINUTE} minutes`), limit).unref();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => end(130, signal));
await main().then(
  () => end(0),
  (error) => end(1, error.stack),
);
