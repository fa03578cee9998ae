import { type Io, mebibytes, type Paint, painter, type Style, widthOf, wrap } from '../terminal.js';
import type { Attack, Result } from './attack.js';
import type { Verdict } from './outcome.js';
import type { ProbeReport } from './run.js';

const GROUPS: readonly (readonly [Attack['group'], string])[] = [
  ['head', 'Size of the request head'],
  ['request', 'Malformed requests'],
  ['origin', 'Origins and hosts'],
  ['frames', 'Forbidden frames'],
  ['messages', 'Messages'],
  ['floods', 'Floods'],
  ['slow', 'Slow peers'],
];

const WORDS: Readonly<Record<Verdict, readonly [string, Style]>> = {
  held: ['held', 'green'],
  accepted: ['ACCEPTED', 'red'],
  ended: ['SERVER ENDED', 'red'],
  skipped: ['skipped', 'dim'],
};

/** The text report: a line for each attack, then the accepted attacks and the settings that change them. */
export function printProbe(report: ProbeReport, io: Io): void {
  const paint = painter(io);
  const width = widthOf(io.stdout);
  const line = (text = '') => io.stdout.write(`${text}\n`);
  const { server, results, counts } = report;
  line(paint('bold', `${report.url} at ${report.address}`));
  const facts = [
    server.name,
    `an upgrade gets ${server.upgrade}`,
    server.dialect === 'socket.io' ? 'socket.io' : undefined,
  ];
  line(`  ${facts.filter((fact) => fact !== undefined).join('; ')}`);
  if (server.pid !== undefined) line(paint('dim', `  measuring memory and CPU of process ${server.pid}`));
  const longest = Math.max(...results.map(({ id }) => id.length), 0);
  for (const [group, title] of GROUPS) {
    const own = results.filter((each) => each.group === group);
    if (own.length === 0) continue;
    line();
    line(paint('bold', title));
    for (const result of own) {
      const [word, style] = styleOf(result);
      line(`  ${paint(style, word.padEnd(12))}  ${result.id.padEnd(longest)}  ${result.seen}`);
    }
  }
  line();
  printAdvice(results, paint, width, line);
  if (!server.upgrade.startsWith('101'))
    line(
      paint(
        'yellow',
        wrap(
          `Attacks on open connections were skipped: an upgrade gets ${server.upgrade}. Authenticate with --header, such as 'Cookie: session=…'.`,
          width,
        ),
      ),
    );
  if (!report.complete)
    line(paint('yellow', counts.ended > 0 ? 'The run ended with the server.' : 'The run was stopped before its end.'));
  const parts = [
    paint('green', `${counts.held} held`),
    counts.accepted > 0 ? paint('red', `${counts.accepted} accepted`) : '0 accepted',
    ...(counts.ended > 0 ? [paint('red', 'the server ended')] : []),
    `${counts.skipped} skipped`,
  ];
  line(
    `${parts.join(', ')}; ${report.connections} connections, ${mebibytes(report.bytes)}, ${(report.milliseconds / 1000).toFixed(0)} s.`,
  );
}

/** The accepted attacks, grouped by the setting that governs them. */
function printAdvice(results: readonly Result[], paint: Paint, width: number, line: (text?: string) => void): void {
  const bad = results.filter(({ verdict }) => verdict === 'accepted' || verdict === 'ended');
  if (bad.length === 0) return;
  line(paint('bold', 'What to change'));
  for (const setting of new Set(bad.map((each) => each.setting))) {
    const own = bad.filter((each) => each.setting === setting);
    const variable = own[0]!.variable;
    line(
      setting === undefined
        ? '  No setting: nest-secure-ws always refuses these'
        : `  ${paint('green', variable ?? setting)}${variable === undefined ? '' : `  ${setting}`}`,
    );
    for (const result of own) {
      const [, style] = styleOf(result);
      const text = [`${result.title}: ${result.seen}.`, costText(result)].filter(Boolean).join(' ');
      const [first = '', ...more] = wrap(text, width - 12).split('\n');
      line(`    ${paint(style, result.severity.padEnd(7))} ${first}`);
      for (const each of more) line(`            ${each}`);
    }
  }
  line();
}

/** Accepted attacks are coloured by severity. */
function styleOf({ verdict, severity }: Result): readonly [string, Style] {
  if (verdict === 'accepted' && severity !== 'error') return ['ACCEPTED', severity === 'warning' ? 'yellow' : 'cyan'];
  return WORDS[verdict];
}

function costText({ cost }: Result): string {
  if (cost === undefined) return '';
  const parts: string[] = [];
  if (cost.memory !== undefined && cost.memory > 1024 * 1024) parts.push(`${mebibytes(cost.memory)} of memory`);
  if (cost.cpu !== undefined && cost.cpu >= 0.05) parts.push(`${cost.cpu.toFixed(2)} s of CPU`);
  if (cost.latency !== undefined && cost.latency >= 20)
    parts.push(`other connections waited up to ${Math.round(cost.latency)} ms`);
  return parts.length === 0 ? '' : `It cost the server ${parts.join(', ')}.`;
}
