import { rowAt } from '../../config/rows.js';
import { VERSION } from '../../version.js';
import { CannotRun, safeText } from '../terminal.js';
import { type Arena, describeResponse } from './arena.js';
import type { Attack, Result } from './attack.js';
import { HEAD_ATTACKS } from './attacks.head.js';
import { LIVE_ATTACKS } from './attacks.live.js';
import { SLOW_ATTACKS } from './attacks.slow.js';
import { BudgetExceeded, MARGIN } from './budget.js';
import { Canary } from './canary.js';
import { NoWebSocket, type Outcome, skipped } from './outcome.js';
import { findListener, UsageWatch, usageOf } from './server-process.js';

/** What `probe --json` prints. The name changes when a field is renamed or removed. */
export interface ProbeReport {
  readonly schema: 'nest-secure-ws/probe/1';
  readonly version: string;
  /** The URL without the query, which may contain a secret. */
  readonly url: string;
  /** The address that was attacked. */
  readonly address: string;
  readonly server: {
    /** Its `Server` header. */
    readonly name: string | undefined;
    /** The status of the answer to an ordinary upgrade request. */
    readonly upgrade: string;
    readonly dialect: Arena['dialect'];
    readonly echoes: boolean;
    /** The server's process, if it is on this machine and accessible. */
    readonly pid: number | undefined;
  };
  readonly results: readonly Result[];
  readonly counts: {
    readonly held: number;
    readonly accepted: number;
    readonly ended: number;
    readonly skipped: number;
  };
  readonly connections: number;
  readonly bytes: number;
  readonly milliseconds: number;
  /** False if the run was stopped. */
  readonly complete: boolean;
}

export const ATTACKS: readonly Attack[] = [...HEAD_ATTACKS, ...LIVE_ATTACKS, ...SLOW_ATTACKS];

export interface RunOptions {
  readonly pid?: number;
  /** Skip the group `slow`. */
  readonly quick: boolean;
  /** Run only attacks with these identifiers, or of these groups. */
  readonly only: readonly string[];
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

const SOCKET_IO = '/socket.io/?EIO=4&transport=websocket';
/** Groups that reach the application: after each attack the canary checks that the server is still up. */
const WEBSOCKET: ReadonlySet<Attack['group']> = new Set(['frames', 'messages', 'floods']);

/** One run of the attacks over one target that has consented. */
export class ProbeRun {
  private readonly results = new Map<string, Result>();
  private canary: Canary | undefined;
  private pid: number | undefined;
  private endedAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly arena: Arena,
    private readonly options: RunOptions,
  ) {}

  async run(): Promise<ProbeReport> {
    const { arena, options } = this;
    const begun = performance.now();
    const { target, budget } = arena;
    this.pid = target.isLoopback ? (options.pid ?? findListener(target.port)) : undefined;
    const first = await this.meet().catch(cannotMeet);
    const chosen = ATTACKS.filter(
      ({ id, group }) => options.only.length === 0 || options.only.includes(id) || options.only.includes(group),
    );
    const slow = chosen.filter(({ group }) => group === 'slow');
    const running = options.quick ? [] : slow.map((attack) => this.attempt(attack, false));
    for (const attack of chosen) {
      if (attack.group === 'slow') continue;
      options.onProgress(`${this.results.size + 1}/${chosen.length}  ${attack.id}: ${attack.title}`);
      await this.attempt(attack, true);
    }
    if (running.length > 0) {
      const tick = setInterval(() => {
        const waiting = slow.filter(({ id }) => !this.results.has(id)).map(({ id }) => id);
        options.onProgress(
          `${this.results.size}/${chosen.length}  waiting for ${waiting.join(', ')} (${Math.ceil(budget.left / 1000)} s at most)`,
        );
      }, 500);
      await Promise.all(running);
      clearInterval(tick);
    }
    this.canary?.stop();
    const results = chosen.flatMap(({ id }) => this.results.get(id) ?? []);
    const count = (verdict: Result['verdict']) => results.filter((each) => each.verdict === verdict).length;
    return {
      schema: 'nest-secure-ws/probe/1',
      version: VERSION,
      url: `${target.tls ? 'wss' : 'ws'}://${target.authority}${arena.path.replace(/\?.*/, '')}`,
      address: target.address,
      server: { ...first, dialect: arena.dialect, echoes: arena.echoes, pid: this.pid },
      results,
      counts: { held: count('held'), accepted: count('accepted'), ended: count('ended'), skipped: count('skipped') },
      connections: budget.connections,
      bytes: budget.bytes,
      milliseconds: Math.round(performance.now() - begun),
      complete: !options.signal.aborted && this.endedAt === Number.POSITIVE_INFINITY,
    };
  }

  /** Sends one ordinary upgrade request, to find out what the server is and which message format it uses. */
  private async meet(): Promise<Pick<ProbeReport['server'], 'name' | 'upgrade'>> {
    const { arena } = this;
    let response = await this.upgrade();
    if (response?.status !== 101 && arena.path === '/') {
      arena.path = SOCKET_IO;
      const other = await this.upgrade();
      if (other?.status === 101) response = other;
      else arena.path = '/';
    }
    if (response?.status === 404)
      throw new CannotRun(
        `an upgrade to ${safeText(arena.path)} gets ${describeResponse(response)}: pass the path of a gateway`,
      );
    if (arena.path.includes('EIO=4')) arena.dialect = 'socket.io';
    if (response?.status === 101) {
      // A server may take one connection, and refuse the next.
      this.canary = await Canary.open(arena).catch(orNone);
      arena.echoes = (await this.canary?.echoes(arena)) ?? false;
    }
    const name = response?.headers.get('server');
    return {
      name: name === undefined ? undefined : safeText(name, 80),
      upgrade: response === undefined ? 'no answer' : describeResponse(response),
    };
  }

  private async upgrade() {
    const peer = await this.arena.open();
    const response = await peer.ask(this.arena.head());
    peer.destroy();
    return response;
  }

  /** Runs an attack and records its result. `isAlone`: no other attack runs, so its cost can be measured. */
  private async attempt(attack: Attack, isAlone: boolean): Promise<void> {
    const { budget } = this.arena;
    if (attack.group === 'slow' && attack.patience > budget.left - MARGIN)
      return this.note(attack, skipped(`takes up to ${attack.patience / 1000} s: raise --time`));
    this.canary?.latency();
    const watch = new UsageWatch(isAlone ? this.pid : undefined);
    let outcome: Outcome;
    try {
      budget.check();
      if (this.endedAt < performance.now()) throw new BudgetExceeded('the server has ended');
      outcome = await attack.run(this.arena, attack.patience);
    } catch (error) {
      outcome = skipped(whySkipped(error));
    }
    const usage = watch.stop();
    const latency = isAlone ? this.canary?.latency() : undefined;
    if (this.options.signal.aborted) outcome = skipped('stopped');
    else if (!isAlone) {
      // Connections that ended because the server ended do not prove a limit.
      if (this.endedAt < performance.now()) outcome = skipped('the server has ended');
    } else if (
      this.endedAt === Number.POSITIVE_INFINITY &&
      budget.left > 0 &&
      !(await this.isAlive(outcome.abrupt === true || WEBSOCKET.has(attack.group)))
    ) {
      this.endedAt = performance.now();
      outcome = { verdict: 'ended', seen: 'the server no longer answers, or was restarted' };
    }
    this.note(attack, outcome, outcome.verdict === 'accepted' && isAlone ? { ...usage, latency } : undefined);
  }

  private note(attack: Attack, outcome: Outcome, cost?: Result['cost']): void {
    const { id, group, title, severity, setting } = attack;
    const variable = setting === undefined ? undefined : rowAt(setting)?.row.variable;
    this.results.set(id, {
      id,
      group,
      title,
      severity,
      setting,
      variable,
      ...outcome,
      ...(cost === undefined ? {} : { cost }),
    });
  }

  /** `isDoubtful`: the attack may have ended the server. */
  private async isAlive(isDoubtful: boolean): Promise<boolean> {
    if (isDoubtful && this.canary?.isOpen) await this.canary.confirm();
    if (this.pid !== undefined && usageOf(this.pid) === undefined) return false;
    if (this.canary?.isOpen || (this.canary === undefined && !isDoubtful)) return true;
    try {
      const peer = await this.arena.open();
      peer.destroy();
      if (this.canary === undefined) return true;
      // The server may have closed this connection because of a limit: another one is opened.
      this.canary.stop();
      this.canary = await Canary.open(this.arena).catch(orNone);
      return true;
    } catch (error) {
      return error instanceof BudgetExceeded;
    }
  }
}

/** The reason why an attack is not possible; other errors are rethrown. */
function whySkipped(error: unknown): string {
  if (error instanceof NoWebSocket || error instanceof BudgetExceeded) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined && !/connection|connected/.test(message)) throw error;
  return `no connection: ${safeText(code ?? message, 60)}`;
}

/** Without an answer to an ordinary request there is nothing to attack. */
function cannotMeet(error: unknown): never {
  if (error instanceof CannotRun) throw error;
  throw new CannotRun(`the server does not answer an ordinary request: ${whySkipped(error)}`);
}

const orNone = (error: unknown): undefined => void whySkipped(error);

/** Server ended, or something was accepted that is at least a warning (with `--strict`: a note). */
export const hasFindings = ({ results }: ProbeReport, strict: boolean): boolean =>
  results.some(
    ({ verdict, severity }) => verdict === 'ended' || (verdict === 'accepted' && (strict || severity !== 'note')),
  );

/** The attacks that `--only` names must exist. */
export function checkOnly(only: readonly string[]): void {
  const known: Set<string> = new Set(ATTACKS.flatMap(({ id, group }) => [id, group]));
  const unknown = only.filter((name) => !known.has(name));
  if (unknown.length > 0)
    throw new CannotRun(
      `no attack or group is called ${unknown.map((name) => safeText(name)).join(', ')}; there are ${[...known].join(', ')}`,
    );
}
