import { rowAt } from '../../config/rows.js';
import { columns, type Io, type Paint, painter, safeText, widthOf, wrap } from '../terminal.js';
import type { DoctorReport, ShownSetting } from './examine.js';
import type { Finding, Severity } from './finding.js';

const STYLES = { error: 'red', warning: 'yellow', note: 'cyan' } as const;

/** The text report: the settings, the findings, and a summary line. */
export function printReport(report: DoctorReport, io: Io, { brief }: { brief: boolean }): void {
  const paint = painter(io);
  const width = widthOf(io.stdout);
  const line = (text = '') => io.stdout.write(`${text}\n`);
  line(paint('bold', `nest-secure-ws ${report.version}, Node ${report.node.replace(/^v/, '')}`));
  line();
  printSettings(report.settings, brief, paint, line);
  for (const finding of report.findings) printFinding(finding, paint, width, line);
  const skipped = report.checks.filter(({ status }) => status === 'skipped');
  if (skipped.length > 0) {
    line(paint('dim', 'Not checked'));
    for (const { check, reason = '' } of skipped) line(paint('dim', wrap(`${check}: ${reason}`, width, '  ')));
    line();
  }
  line(summary(report, paint));
}

function printSettings(
  settings: readonly ShownSetting[],
  brief: boolean,
  paint: Paint,
  line: (text?: string) => void,
): void {
  const shown = brief ? settings.filter(({ source }) => source !== 'default') : settings;
  line(paint('bold', brief ? 'Settings that are not defaults' : 'Settings'));
  if (shown.length === 0) line('  none');
  const rows = shown.map((each) => [each.path, valueText(each), sourceText(each)]);
  for (const [at, text] of columns(rows).entries()) line(shown[at]!.source === 'default' ? paint('dim', text) : text);
  line();
}

const sourceText = ({ source, gateway, variable }: ShownSetting): string => {
  if (gateway !== undefined) return `gateway ${gateway}`;
  if (source === 'options') return 'forRoot()';
  if (source === 'default') return variable === undefined ? 'default' : `default  ${variable}`;
  return `${source}  ${variable}`;
};

/** A value in the notation of a variable: `10s`, `64kb`, `20/1s`. */
export function valueText({ path, value }: Pick<ShownSetting, 'path' | 'value'>): string {
  if (value === undefined) return '–';
  if (value === null) return 'removed';
  const row = rowAt(path)?.row;
  return safeText(typeof value === 'string' || row === undefined ? String(value) : row.show(value), 60);
}

function printFinding(finding: Finding, paint: Paint, width: number, line: (text?: string) => void): void {
  const { severity, check, where, what, why, fix, set } = finding;
  line(
    `${paint(STYLES[severity], paint('bold', severity.toUpperCase()))} ${paint('bold', check)}${where === undefined ? '' : ` (${safeText(where)})`}`,
  );
  for (const text of [what, why, fix]) line(wrap(safeText(text, 1000), width, '  '));
  for (const { variable, value } of set) line(`    ${paint('green', `${variable}=${safeText(value, 500)}`)}`);
  line();
}

function summary({ counts, checks }: DoctorReport, paint: Paint): string {
  const said = (['error', 'warning', 'note'] as const).filter((severity) => counts[severity] > 0);
  const passed = checks.filter(({ status }) => status === 'passed').length;
  if (said.length === 0) return paint('green', `No findings; ${passed} checks passed.`);
  const words = said.map((severity) => paint(STYLES[severity], plural(counts[severity], severity)));
  return `${words.join(', ')}; ${passed} checks passed.`;
}

const plural = (count: number, word: Severity): string => `${count} ${word}${count === 1 ? '' : 's'}`;
