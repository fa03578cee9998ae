import type { RoomMember } from '../dispatch/broadcaster.js';
import { MAX_MESSAGE } from './messages.js';

/** The recipients of a broadcast: all peers, or those of a gateway, a room, a user. */
export interface CastScope {
  readonly gateway?: string;
  readonly room?: string;
  readonly userKey?: string;
}

/** Answers requests for this process's own connections. */
export interface Respondent {
  disconnectUser(userKey: string, code: number, reason: string): number;
  disconnectSocket(id: string, code: number, reason: string): number;
  connectionsOf(userKey: string): number;
  count(scope: CastScope): number;
  members(scope: CastScope): readonly RoomMember[];
  /** What the dashboard of another process shows of this one; `null` where this process has none. */
  view(question: Record<string, unknown>): unknown;
}

/** Maximum number of pending requests; beyond it only this process answers. */
const MOST_WAITING = 1000;

interface Question {
  /** The processes that have not answered. */
  readonly missing: Set<string>;
  hear(answer: unknown, from: string): boolean;
  end(): void;
}

/** Requests to all other processes. The result of each contains the answers that arrived in time. */
export class Requests {
  readonly #questions = new Map<string, Question>();
  #next = 0;

  constructor(
    /** Milliseconds. */
    private readonly timeout: number,
    /** Sends a request; returns false if no process will receive it. */
    private readonly send: (id: string, kind: string, data: unknown, to?: string) => Promise<boolean>,
  ) {}

  get size(): number {
    return this.#questions.size;
  }

  /**
   * Sends a request to `others`. Resolves to the answers when all have arrived, when `isEnough` returns true for one,
   * or after the timeout. `to`: the only process that receives it.
   */
  ask(
    kind: string,
    data: unknown,
    others: readonly string[],
    isEnough: (answer: unknown, from: string) => boolean = () => false,
    to?: string,
  ): Promise<unknown[]> {
    if (others.length === 0 || this.#questions.size >= MOST_WAITING) return Promise.resolve([]);
    const id = (this.#next++).toString(36);
    return new Promise((resolve) => {
      const answers: unknown[] = [];
      const end = (): void => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(answers);
      };
      const timer = setTimeout(() => setImmediate(end), this.timeout);
      const hear = (answer: unknown, from: string): boolean => {
        answers.push(answer);
        return isEnough(answer, from);
      };
      this.#questions.set(id, { missing: new Set(others), hear, end });
      void this.send(id, kind, data, to).then((isSent) => {
        if (!isSent) end();
      });
    });
  }

  /** Handles an answer. A second answer of the same process is ignored. */
  answered(id: string, from: string, answer: unknown): void {
    const question = this.#questions.get(id);
    // protection: cluster: a process answers once
    if (!question?.missing.delete(from)) return;
    // end protection
    if (question.hear(answer, from) || question.missing.size === 0) question.end();
  }

  /** Resolves all pending requests, because no more answers will arrive. */
  close(): void {
    for (const { end } of [...this.#questions.values()]) end();
  }
}

/** Maximum number of members in the answer of one process. */
const MOST_MEMBERS = 10_000;
/** Maximum length of all of them, which take up to three bytes per character. */
const MOST_CHARACTERS = MAX_MESSAGE / 3;
const MAX_REASON = 123;

/** The first members, as many as fit into one message. */
function fitting(members: readonly RoomMember[]): RoomMember[] {
  let left = MOST_CHARACTERS;
  const some = members.slice(0, MOST_MEMBERS);
  const end = some.findIndex(({ id, userKey = '' }) => {
    left -= id.length + userKey.length + 32;
    return left < 0;
  });
  return end < 0 ? some : some.slice(0, end);
}

/** Answers a request of another process. Throws if its payload is invalid. */
export function answerTo(host: Respondent, kind: string, data: Record<string, unknown>): unknown {
  switch (kind) {
    case 'disconnect-user':
      return host.disconnectUser(text(data['key']), code(data['code']), reason(data['reason']));
    case 'disconnect-socket':
      return host.disconnectSocket(text(data['key']), code(data['code']), reason(data['reason']));
    case 'online':
      return host.connectionsOf(text(data['key']));
    case 'count':
      return host.count(scopeOf(data));
    case 'members':
      return fitting(host.members(scopeOf(data)));
    case 'view':
      return host.view(data);
    default:
      return null;
  }
}

export function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('not a text');
  return value;
}

export function number(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new TypeError('not a number');
  return value;
}

const code = (value: unknown): number => {
  const given = number(value);
  return Number.isInteger(given) && given >= 1000 && given <= 4999 ? given : 1008;
};

const reason = (value: unknown): string => {
  let cut = text(value).slice(0, MAX_REASON);
  while (Buffer.byteLength(cut) > MAX_REASON) cut = cut.slice(0, -1);
  return cut;
};

export function scopeOf(value: unknown): CastScope {
  const { gateway, room, userKey } = value as Record<string, unknown>;
  return {
    ...(gateway === undefined ? {} : { gateway: text(gateway) }),
    ...(room === undefined ? {} : { room: text(room) }),
    ...(userKey === undefined ? {} : { userKey: text(userKey) }),
  };
}

/** The sum of the answers. */
export const sum = (answers: readonly unknown[]): number =>
  answers.reduce(
    (total: number, answer) => total + (Number.isSafeInteger(answer) ? Math.max(0, answer as number) : 0),
    0,
  );

/** The members in the answer of one process. */
export const membersOf = (answer: unknown): RoomMember[] => (Array.isArray(answer) ? answer.flatMap(member) : []);

const member = (value: unknown): RoomMember[] => {
  const { id, userKey } = (value ?? {}) as Record<string, unknown>;
  return typeof id === 'string' ? [{ id, userKey: typeof userKey === 'string' ? userKey : undefined }] : [];
};
