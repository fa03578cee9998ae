import type { Family, Histogram, Labels } from './metrics.js';

/** Prefix of the name of every metric. */
export const PREFIX = 'nest_secure_ws_';

/** The media type of the text exposition format. */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Metrics in Prometheus's text exposition format, version 0.0.4. */
export function prometheusText(families: readonly Family[]): string {
  let text = '';
  for (const family of families) {
    const name = PREFIX + family.name;
    text += `# HELP ${name} ${escapeHelp(family.help)}\n# TYPE ${name} ${family.type}\n`;
    if (family.type === 'histogram')
      for (const { labels, histogram } of family.samples) text += histogramText(name, labels, histogram);
    else for (const { labels, value } of family.samples) text += `${name}${labelText(labels)} ${numberText(value)}\n`;
  }
  return text;
}

function histogramText(name: string, labels: Labels, { bounds, counts, sum }: Histogram): string {
  let text = '';
  let cumulative = 0;
  for (const [index, count] of counts.entries()) {
    cumulative += count;
    const le = index < bounds.length ? String(bounds[index]) : '+Inf';
    text += `${name}_bucket${labelText({ ...labels, le })} ${cumulative}\n`;
  }
  return `${text}${name}_sum${labelText(labels)} ${numberText(sum)}\n${name}_count${labelText(labels)} ${cumulative}\n`;
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');

const numberText = (value: number): string =>
  Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
