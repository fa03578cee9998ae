// @ts-nocheck
import { errorPlace, errorWords } from './error-text.js';
import type { FaultEvent, NoticeEvent, RefusedEvent, Subscriber } from './events.js';

/** What a log needs of Nest's logger. */
export interface Lines {
  warn(message: string): void;
  error(message: string): void;
}

const PERIOD = 10_000;
const MAX_LINE = 1024;
/** Of a path: what is said after it must still fit. */
const MAX_PATH = 256;

interface Sample {
  since: number;
  suppressed: number;
}

/** Writes what happened: at most a line per reason and ten seconds, each at most 1 KiB and of one line. */
export class SampledLog implements Partial<Subscriber> {
  private readonly refusals = new Map<string, Sample>();
  private readonly faults = new Map<string, Sample>();

  constructor(
    private readonly lines: Lines,
    private readonly now: () => number,
  ) {}

  refused(event: RefusedEvent): void {
    const suppressed = this.admit(this.refusals, event.reason);
    if (suppressed === undefined) return;
    const path = pathOf(event);
    const detail = event.detail === undefined ? '' : `: ${event.detail}`;
    this.lines.warn(line(`refused ${event.status} ${event.reason} ip=${event.ip}${path}${detail}${also(suppressed)}`));
  }

  fault(event: FaultEvent): void {
    // Its refusal says it, without what the request must keep to itself.
    if (event.where === 'guard') return;
    const suppressed = this.admit(this.faults, event.where);
    if (suppressed === undefined) return;
    const { where, error } = event;
    this.lines.error(
      line(`${where} failed${pathOf(event)}: ${errorWords(error)} ${errorPlace(error)}${also(suppressed)}`),
    );
  }

  notice(event: NoticeEvent): void {
    this.lines.warn(line(event.message));
  }

  /** How many of this kind were left out since the last line, or `undefined` where this one is to be left out too. */
  private admit(samples: Map<string, Sample>, kind: string): number | undefined {
    const now = this.now();
    const sample = samples.get(kind);
    if (sample === undefined) {
      samples.set(kind, { since: now, suppressed: 0 });
      return 0;
    }
    if (now - sample.since < PERIOD) {
      sample.suppressed++;
      return undefined;
    }
    const { suppressed } = sample;
    sample.since = now;
    sample.suppressed = 0;
    return suppressed;
  }
}

const also = (suppressed: number): string => (suppressed === 0 ? '' : ` (and ${suppressed} more like it)`);

const pathOf = ({ path }: { readonly path: string | undefined }): string =>
  path === undefined ? '' : ` path=${path.slice(0, MAX_PATH)}`;

/** One line, control characters written out (CWE-117), at most 1 KiB. */
export function line(text: string): string {
  const clean = text
    .slice(0, MAX_LINE)
    .replace(
      /[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
      (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
  let cut = clean;
  while (Buffer.byteLength(cut) > MAX_LINE)
    cut = cut.slice(0, cut.length - Math.max(1, Math.ceil((Buffer.byteLength(cut) - MAX_LINE) / 4)));
  return cut;
}
