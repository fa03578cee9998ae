import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { CHECKS, type DoctorReport } from '../../lib/cli/doctor/examine.js';
import { ATTACKS, type ProbeReport } from '../../lib/cli/probe/run.js';
import { Running } from '../samples/processes.js';
import { unusedPort } from '../support/ports.js';

jest.setTimeout(180_000);

const run = promisify(execFile);
const BIN = resolve('bin/nest-secure-ws.js');

/** The published executable over the built package. */
async function cli(
  args: readonly string[],
  cwd = process.cwd(),
): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(WEBSOCKETS_|NODE_OPTIONS)/.test(name)),
  );
  try {
    return { code: 0, ...(await run(BIN, [...args], { cwd, env })) };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}

beforeAll(async () => {
  await run(process.execPath, ['scripts/build-samples.mjs'], { env: { ...process.env, NODE_OPTIONS: '' } });
});

describe('the executable with the samples', () => {
  it('prints its version, and requires a command', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    expect((await cli([])).code).toBe(2);
    const help = await cli(['--help']);
    expect([help.code, /doctor .*probe .*tune .*Examples:/s.test(help.stdout)]).toEqual([0, true]);
  });

  it.each([
    ['02-guards-and-env', { 'messages.maxSize': 16_384, 'connections.onUserLimit': 'closeOldest' }],
    ['05-behind-fastify', {}],
    ['06-rooms-and-broadcast', {}],
  ])('doctor loads %s and finds nothing', async (name, values) => {
    const { stdout, stderr } = await cli(['doctor', '--app', 'dist/app.module.js', '--json'], resolve('sample', name));
    expect(stderr).toBe('');
    const report = JSON.parse(stdout) as DoctorReport;
    // Findings about the machine, not the sample.
    expect(report.findings.filter(({ check }) => check !== 'node')).toEqual([]);
    for (const [path, value] of Object.entries(values))
      expect(report.settings.find((each) => each.path === path)).toMatchObject({ value, source: '.env' });
  });

  it.each([
    ['01-quick-start', '/'],
    ['05-behind-fastify', '/sum'],
  ])('probe finds that %s resists every attack', async (name, path) => {
    const port = await unusedPort();
    const sample = new Running(process.execPath, [resolve('sample', name, 'dist/main.js')], {
      cwd: resolve('sample', name),
      env: { PORT: String(port) },
    });
    try {
      await sample.prints(/Listening on/);
      const { code, stdout } = await cli(['probe', `ws://127.0.0.1:${port}${path}`, '--quick', '--json']);
      const { results } = JSON.parse(stdout) as ProbeReport;
      expect([results.filter(({ verdict }) => verdict !== 'held'), code]).toEqual([[], 0]);
    } finally {
      await sample.stop();
    }
  });

  it('exits silently when its output is no longer read', async () => {
    const { stdout, stderr } = await run('sh', ['-c', `"${BIN}" doctor | head -n 1`], {
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    expect([stdout.startsWith('nest-secure-ws'), stderr]).toEqual([true, '']);
  });
});

describe('docs/command-line.md', () => {
  const page = readFileSync('docs/command-line.md', 'utf8');

  it('names every check, attack and schema', () => {
    for (const name of [...Object.keys(CHECKS), ...ATTACKS.flatMap(({ id, group }) => [id, group])])
      expect(page).toContain(`\`${name}\``);
    for (const schema of ['doctor', 'probe', 'tune']) expect(page).toContain(`"schema": "nest-secure-ws/${schema}/1"`);
  });

  it('has the defaults of times in the unit of the help text', async () => {
    for (const [command, byDefault] of [
      ['probe', 60],
      ['tune', 20],
    ]) {
      const { stdout } = await cli([`${command}`, '--help']);
      expect(stdout).toMatch(new RegExp(`--time <seconds>[^-]*\\(default: ${byDefault}\\)`));
    }
  });

  it('names every option of the help text', async () => {
    for (const command of ['doctor', 'probe', 'tune']) {
      const { stdout } = await cli([command, '--help']);
      const section = page.slice(page.indexOf(`\n## ${command}\n`)).split('\n## ')[1];
      for (const [option] of stdout.matchAll(/--[a-z]+(-[a-z]+)*/g))
        if (option !== '--help')
          expect([command, section?.includes(`\`${option}`) || page.includes(`\`${option}\``)]).toEqual([
            command,
            true,
          ]);
    }
  });
});
