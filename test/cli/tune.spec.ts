import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, jest } from '@jest/globals';
import { main } from '../../lib/cli/index.js';
import { type Codec, codecsOf } from '../../lib/cli/tune/codecs.js';
import { printTune } from '../../lib/cli/tune/command.js';
import { median, readCorpus, sampleOf, sum } from '../../lib/cli/tune/corpus.js';
import { measureSpeed } from '../../lib/cli/tune/measure.js';
import { best, isDedicatedWorthIt, isWorthIt, score } from '../../lib/cli/tune/recommend.js';
import type { TuneReport } from '../../lib/cli/tune/tune.js';
import { runCli, runJson } from './run.js';

// Each run measures for seconds, in several processes.
jest.setTimeout(120_000);

const root = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function folder(name: string, files: Record<string, string | Buffer>): string {
  const path = join(root, name);
  mkdirSync(path);
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
  return path;
}

const json = (i: number) =>
  JSON.stringify({
    event: 'message',
    data: { id: i, room: `room-${i % 7}`, text: 'hello, how are you today? '.repeat(1 + (i % 30)) },
  });

describe('readCorpus and sampleOf', () => {
  it('read one message per file, or per line of a .jsonl file', () => {
    const path = folder('messages', {
      'b.txt': 'two\nlines',
      'a.jsonl': '{"a":1}\r\n\n{"b":2}\n',
      'c.bin': Buffer.from([0, 255]),
      empty: '',
      '.hidden': 'x',
    });
    mkdirSync(join(path, 'folder'));
    expect(readCorpus(path).map(String)).toEqual(['{"a":1}', '{"b":2}', 'two\nlines', String(Buffer.from([0, 255]))]);
  });

  it('require messages', () => {
    expect(() => readCorpus(join(root, 'missing'))).toThrow(/cannot be read: ENOENT/);
    expect(() => readCorpus(folder('none', { empty: '' }))).toThrow(/contains no messages/);
  });

  it('bound the number and bytes of messages', () => {
    expect(readCorpus(folder('many', { 'a.jsonl': 'x\n'.repeat(30_000) }))).toHaveLength(20_000);
    const large = Buffer.alloc(30 * 1024 * 1024, 'a');
    expect(readCorpus(folder('large', { a: large, b: large, c: large }))).toHaveLength(2);
  });

  it('read no more of a file than is used, however large it is', () => {
    const path = folder('huge', { 'a.txt': 'first', 'c.bin': 'x', 'b.jsonl': `"one"\n${'x'.repeat(100)}` });
    // Sparse: longer than any Buffer or string of Node.
    for (const name of ['b.jsonl', 'c.bin']) truncateSync(join(path, name), 8 * 1024 ** 3);
    expect(readCorpus(path).map(String)).toEqual(['first', '"one"']);
  });

  it('measure a representative sample', () => {
    const messages = Array.from({ length: 1000 }, (_, i) => Buffer.from(json(i)));
    const sample = sampleOf(messages, sum(messages) / 10);
    expect(sample).toHaveLength(100);
    expect(Math.abs(sum(sample) / sum(messages) - 0.1)).toBeLessThan(0.03);
    expect(sampleOf(messages, sum(messages))).toBe(messages);
    expect(sampleOf([Buffer.alloc(100)], 1)).toHaveLength(1);
    expect([median([]), median([Buffer.alloc(3), Buffer.alloc(9), Buffer.alloc(5)])]).toEqual([0, 5]);
  });
});

describe('measureSpeed', () => {
  const halving = (): Codec => ({
    compress: async (message) => message.subarray(0, message.length / 2),
    decompress: async (wire) => Buffer.concat([wire, wire]),
    close: () => undefined,
  });
  const once = { turns: 3, time: 0 };

  it('sends short messages uncompressed, and counts bytes on the wire', async () => {
    const messages = [Buffer.alloc(100, 'a'), Buffer.alloc(1000, 'a')];
    const [all, long] = await measureSpeed(
      [
        { make: halving, threshold: 0 },
        { make: halving, threshold: 256 },
      ],
      messages,
      once,
    );
    expect([all!.size, long!.size]).toEqual([0.5, 600 / 1100]);
    expect(all!.cpu).toBeGreaterThan(0);
  });

  it('makes as many turns as the time allows, and at least one', async () => {
    const turns: number[] = [];
    const candidates = [{ make: halving, threshold: 0 }];
    await measureSpeed(candidates, [Buffer.alloc(2)], { turns: 3, time: 60_000, onTurn: (turn) => turns.push(turn) });
    await measureSpeed(candidates, [Buffer.alloc(2)], { turns: 3, time: 0, onTurn: (turn) => turns.push(turn) });
    expect(turns).toEqual([1, 2, 3, 1]);
  });

  it('fails when a message is changed, and stops when it is aborted', async () => {
    const broken = () => ({ ...halving(), decompress: async (wire: Buffer) => wire });
    await expect(measureSpeed([{ make: broken, threshold: 0 }], [Buffer.alloc(8)], once)).rejects.toThrow(
      /was changed/,
    );
    const stopped = AbortSignal.abort();
    await expect(
      measureSpeed([{ make: halving, threshold: 0 }], [Buffer.alloc(8)], { ...once, signal: stopped }),
    ).rejects.toThrow(/abort/i);
  });

  it.each(['shared', 'dedicated'] as const)('runs the code of the server: %s', async (mode) => {
    const make = codecsOf({ mode, windowBits: 12, memLevel: 5, level: 3, threshold: 0 });
    const messages = [json(1), json(29), 'x'.repeat(100_000)].map((text) => Buffer.from(text));
    const [speed] = await measureSpeed([{ make, threshold: 0 }], messages, once);
    expect(speed!.size).toBeLessThan(0.2);
    const codec = make();
    await expect(codec.decompress(Buffer.from('not compressed'))).rejects.toMatchObject({ closeCode: 1007 });
    codec.close();
  });
});

describe('the recommendation of tune', () => {
  const row = (name: string, size: number, cpu: number) => ({ name, size, cpu });
  const rows = [row('default', 0.44, 31), row('cheap', 0.48, 22), row('small', 0.42, 44)];

  it('weighs size and CPU by the preference', () => {
    expect(best(rows, 'cpu').name).toBe('cheap');
    expect(best(rows, 'size').name).toBe('small');
    expect(best(rows, 'balanced').name).toBe('default');
    // One per cent of size is worth four of CPU.
    expect(score({ size: 0.99, cpu: 104 }, 'balanced')).toBeCloseTo(score({ size: 1, cpu: 100 }, 'balanced'), 3);
  });

  it('keeps the first candidate when the others are better only within noise', () => {
    expect(best([row('default', 0.44, 31), row('other', 0.44, 30)], 'balanced').name).toBe('default');
    expect(best([row('default', 0.44, 31), row('other', 0.435, 31)], 'size').name).toBe('default');
    expect(best([row('only', 1, 0)], 'balanced').name).toBe('only');
  });

  it('omits compression that saves little, and adds contexts where they save much and are allowed', () => {
    expect([isWorthIt(row('', 0.95, 1)), isWorthIt(row('', 0.9, 1))]).toEqual([false, true]);
    const [shared, dedicated] = [row('', 0.4, 30), row('', 0.3, 30)];
    const cost = { perConnection: 100, connections: 10 };
    expect(isDedicatedWorthIt(shared, dedicated, { ...cost, allowed: 1000 })).toBe(true);
    expect(isDedicatedWorthIt(shared, dedicated, { ...cost, allowed: 999 })).toBe(false);
    expect(isDedicatedWorthIt(shared, row('', 0.38, 30), { ...cost, allowed: 1000 })).toBe(false);
  });
});

const printed = (report: TuneReport): string => {
  let text = '';
  const write = (more: string) => (text += more);
  const stdout = { write };
  printTune('messages', report, { stdout, stderr: stdout, env: {}, cwd: root, signal: AbortSignal.abort(), self: '' });
  return text;
};

describe('tune', () => {
  const tune = (args: readonly string[], options?: Parameters<typeof runJson>[1]) =>
    runJson<TuneReport>(['tune', ...args, '--time', '1'], options);

  it('recommends settings, with the lines for .env', async () => {
    const path = folder('texts', { 'a.jsonl': Array.from({ length: 200 }, (_, i) => json(i)).join('\n') });
    writeFileSync(join(root, '.env'), 'WEBSOCKETS_COMPRESSION=off\n');
    const { json: report, code, stderr } = await tune([path, '--strict'], { cwd: root, asProcess: true });
    expect([code, stderr]).toEqual([1, '']);
    expect(report).toMatchObject({
      schema: 'nest-secure-ws/tune/1',
      messages: 200,
      improves: true,
      prefer: 'balanced',
      connections: 10_000,
    });
    expect(report.current).toEqual({ size: 1, cpu: 0, memory: 0 });
    const { recommended } = report;
    expect(recommended.tuning?.mode).toBe('shared');
    expect(recommended.size).toBeLessThan(0.5);
    expect(recommended.memory).toBeLessThan(5 * 1024);
    expect(report.dedicated.memory).toBeGreaterThan(20 * 1024);
    expect(report.set.map(({ variable }) => variable)).toEqual([
      'WEBSOCKETS_COMPRESSION',
      'WEBSOCKETS_COMPRESSION_WINDOW_BITS',
      'WEBSOCKETS_COMPRESSION_MEM_LEVEL',
      'WEBSOCKETS_COMPRESSION_LEVEL',
      'WEBSOCKETS_COMPRESSION_THRESHOLD',
    ]);
    expect(report.rows.map(({ varies }) => varies).filter((each) => each === 'window')).toHaveLength(14);
    expect(printed(report)).toMatch(/^ {2}\* {2}shared +\d+ \/ \d+ /m);
    expect(printed(report)).toMatch(/^ {2}WEBSOCKETS_COMPRESSION=shared$/m);
  });

  it('reports good current settings as such', () => {
    const tuning = { mode: 'shared', windowBits: 12, memLevel: 5, level: 3, threshold: 256 } as const;
    const row = { tuning, size: 0.4, cpu: 30, memory: 400 };
    const dedicated = { ...row, tuning: { ...tuning, mode: 'dedicated' as const }, size: 0.3, memory: 100_000 };
    const report: TuneReport = {
      schema: 'nest-secure-ws/tune/1',
      version: '1',
      node: 'v24.0.0',
      messages: 3,
      bytes: 2_000_000,
      median: 7,
      prefer: 'balanced',
      rows: [
        { tuning: undefined, size: 1, cpu: 0, memory: 0 },
        { ...row, varies: 'threshold' },
      ],
      current: row,
      recommended: row,
      dedicated,
      connections: 1000,
      improves: false,
      set: [],
    };
    expect(printed(report)).toMatch(/60\.0 % of the bytes are saved, for 30\.0 µs/);
    expect(printed(report)).toContain('The current settings are as good.');
    expect(printed(report)).toMatch(/would save 70\.0 % and take 96 MiB for 1000 connections/);
    expect(printed({ ...report, improves: true, current: { ...row, size: 0.5 } })).toContain(
      'current settings save 50.0 %',
    );
  });

  it('recommends no compression for incompressible messages', async () => {
    const path = folder('random', Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}`, randomBytes(700)])));
    const { json: report, code } = await tune([path]);
    expect([code, report.recommended.tuning, report.set]).toEqual([
      0,
      undefined,
      [{ variable: 'WEBSOCKETS_COMPRESSION', value: 'off' }],
    ]);
  });

  it('explains why it cannot run, and exits with 2', async () => {
    for (const [args, words] of [
      [['tune', join(root, 'missing')], /cannot be read/],
      [['tune'], /missing required argument 'folder'/],
      [['tune', root, '--prefer', 'speed'], /Allowed choices are balanced, size, cpu/],
      [['tune', root, '--memory', 'lots'], /argument 'lots' is invalid\. expected bytes/],
    ] as const) {
      const { code, stdout, stderr } = await runCli(args);
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(words);
    }
  });

  it('stops at Ctrl-C', async () => {
    const path = folder('stopped', { 'a.jsonl': Array.from({ length: 300 }, (_, i) => json(i)).join('\n') });
    const stopped = new AbortController();
    let out = '';
    const code = await main(['tune', path, '--time', '60'], {
      stdout: { write: (text: string) => (out += text) },
      // A terminal gets progress, and the run is stopped in its second turn.
      stderr: { isTTY: true, write: (text: string) => text.includes('turn 2') && stopped.abort() },
      env: {},
      cwd: root,
      signal: stopped.signal,
      self: '',
    });
    expect([code, out, stopped.signal.aborted]).toEqual([2, '', true]);
  });
});
