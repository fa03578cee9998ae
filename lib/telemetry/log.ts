import { detach } from '../http/grammar.js';
import { errorText } from './error-text.js';
import type { FaultEvent, NoticeEvent, RefusedEvent, Subscriber } from './events.js';

/** The methods of Nest's logger that the log uses. */
export interface Lines {
  warn(message: string): void;
  error(message: string): void;
}

/** For each kind of line, this many are written at once, and then one in this many milliseconds. */
const FIRST = 5;
const PERIOD = 10_000;
/** A kind that did not occur for this many milliseconds starts again. */
const FORGOTTEN = 10 * PERIOD;
/** Maximum number of kinds; peers choose the paths that distinguish them. */
const MAX_KINDS = 256;
const MAX_LINE = 1024;
/** Maximum length of a path in a line, so that the text after it fits. */
const MAX_PATH = 256;

interface Sample {
  lines: number;
  since: number;
  suppressed: number;
}

/**
 * Writes events to the log: for each reason and path the first five lines, then one in ten seconds, which says how many
 * were left out. A line is at most 1 KiB and has no control characters.
 */
export class SampledLog implements Partial<Subscriber> {
  /** By kind, then by path. */
  private readonly samples = new Map<string, Map<string | undefined, Sample>>();
  private count = 0;

  constructor(
    private readonly lines: Lines,
    private readonly now: () => number,
  ) {}

  refused(event: RefusedEvent): void {
    // A path without a gateway is chosen by the peer, so it does not distinguish kinds.
    const suppressed = this.admit(event.reason, event.reason === 'path' ? undefined : event.path);
    if (suppressed === undefined) return;
    const detail = event.detail === undefined ? '' : `: ${event.detail}`;
    this.write(
      'warn',
      `refused ${event.status} ${event.reason} ip=${event.ip}${pathOf(event)}${detail}${also(suppressed)}`,
    );
  }

  fault(event: FaultEvent): void {
    // The refusal is logged and contains the error.
    if (event.where === 'guard') return;
    const suppressed = this.admit(`fault ${event.where}`, event.path);
    if (suppressed === undefined) return;
    const { where, error, request } = event;
    this.write('error', `${where} failed${pathOf(event)}: ${errorText(error, request)}${also(suppressed)}`);
  }

  notice(event: NoticeEvent): void {
    this.write('warn', event.message);
  }

  /** An error thrown by the application's logger is ignored. */
  private write(level: keyof Lines, text: string): void {
    try {
      this.lines[level](line(text));
    } catch {}
  }

  /**
   * The number of lines of this kind that were left out since the last one, or `undefined` if this one must be left out
   * too.
   */
  private admit(kind: string, path: string | undefined): number | undefined {
    const now = this.now();
    const sample = this.sampleOf(kind, path, now);
    if (now - sample.since >= FORGOTTEN) sample.lines = 0;
    // protection: the log is sampled
    if (sample.lines >= FIRST && now - sample.since < PERIOD) {
      sample.suppressed++;
      return undefined;
    }
    // end protection
    const { suppressed } = sample;
    sample.lines++;
    sample.since = now;
    sample.suppressed = 0;
    return suppressed;
  }

  private sampleOf(kind: string, path: string | undefined, now: number): Sample {
    let samples = this.samples.get(kind);
    if (samples === undefined) this.samples.set(kind, (samples = new Map()));
    const name = path?.slice(0, MAX_PATH);
    const known = samples.get(name);
    if (known !== undefined) return known;
    // protection: kinds of log lines are bounded
    if (path !== undefined && this.count >= MAX_KINDS && !this.forget(now)) return this.sampleOf(kind, undefined, now);
    // end protection
    const sample = { lines: 0, since: now, suppressed: 0 };
    // The name must not keep the request head in memory from which it was cut.
    samples.set(name === undefined ? undefined : detach(name), sample);
    this.count++;
    return sample;
  }

  /** Removes kinds that have not occurred for long. Returns whether there is room for another one. */
  private forget(now: number): boolean {
    for (const samples of this.samples.values())
      for (const [name, { since }] of samples)
        if (now - since >= FORGOTTEN) {
          samples.delete(name);
          this.count--;
        }
    return this.count < MAX_KINDS;
  }
}

const also = (suppressed: number): string => (suppressed === 0 ? '' : ` (and ${suppressed} more like it)`);

const pathOf = ({ path }: { readonly path: string | undefined }): string =>
  path === undefined ? '' : ` path=${path.slice(0, MAX_PATH)}`;

/** Control characters, line breaks, and characters that are invisible or change the direction of the text. */
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Writes such characters as in JSON, so that a terminal neither obeys nor hides them (CWE-117, CWE-150). */
export const printable = (text: string): string =>
  text.replace(UNPRINTABLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Returns one line of at most 1 KiB with control characters escaped (CWE-117). */
export function line(text: string): string {
  let cut = printable(text.slice(0, MAX_LINE));
  // protection: lines of the log are short
  while (Buffer.byteLength(cut) > MAX_LINE)
    cut = cut.slice(0, cut.length - Math.max(1, Math.ceil((Buffer.byteLength(cut) - MAX_LINE) / 4)));
  // end protection
  return cut;
}
