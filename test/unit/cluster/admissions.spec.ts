import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Claim, ClaimAnswer } from '../../../lib/cluster/contract.js';
import { LONGEST_WAIT, MOST_ATTEMPTS, RedisAdmissions } from '../../../lib/cluster/redis/admissions.js';
import { RedisCounters } from '../../../lib/cluster/redis/counters.js';
import { type Callers, type RedisLink, UNAVAILABLE } from '../../../lib/cluster/redis/link.js';

interface Command {
  readonly keys: readonly string[];
  /** Own count, upper bound of each key. */
  readonly bounds: readonly (readonly number[])[];
  /** For each attempt its claims: key, max, interval, burst. */
  readonly attempts: readonly (readonly number[])[];
  readonly callers: Callers;
  answer(answers: unknown): Promise<void>;
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
};

/** Admissions whose commands the test sees and answers, and whose turns of the event loop it ends. */
function admissions(isSharded = false) {
  const commands: Command[] = [];
  const notes: string[] = [];
  let ends: (() => void)[] = [];
  let lost = 0;
  const link = {
    breaker: { state: 'open' },
    atEndOfTurn: (send: () => void) => ends.push(send),
    noteFailure: (why: string) => notes.push(why),
    run: (_script: unknown, keys: readonly string[], args: () => [string], _purpose: string, callers: Callers) =>
      new Promise((resolve) => {
        const [, , , , ...numbers] = JSON.parse(args()[0]) as number[];
        const bounds = keys.map(() => numbers.splice(0, 2));
        const attempts: number[][] = [];
        while (numbers.length > 0) attempts.push(numbers.splice(0, 4 * numbers.shift()!));
        commands.push({
          keys,
          bounds,
          attempts,
          callers,
          answer(answers) {
            resolve(answers);
            return settled();
          },
        });
      }),
  } as unknown as RedisLink;
  const counters = new RedisCounters(link, 'p', isSharded);
  counters.identify('00000000001own', '1', ['00000000001own']);
  const all = new RedisAdmissions(
    link,
    counters,
    'p',
    isSharded,
    () => Date.now(),
    () => lost++,
  );
  return {
    commands,
    notes,
    counters,
    ask: (...claims: Claim[]) => all.ask(claims),
    endTurn() {
      const due = ends;
      ends = [];
      for (const send of due) send();
    },
    lost: () => lost,
  };
}

const address = (last: number, max = 5): Claim => ({ name: `a:{192.0.2.${last}}:n`, max });
const TOTAL: Claim = { name: 't:{t}:all', max: 9 };
const zeros = (count: number): number[] => new Array<number>(count).fill(0);

describe('attempts in commands to Redis', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask'] });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('of one turn of the event loop are one command with each key once; each has an answer of its own', async () => {
    const { ask, endTurn, commands, notes, lost } = admissions();
    const rate = { limit: 10, window: 1000 };
    const answers = [
      ask({ ...address(1), rate }, TOTAL),
      ask({ ...address(1), rate }, TOTAL),
      ask(address(2), TOTAL),
      ask(address(3), TOTAL),
      ask({ name: 'a:{192.0.2.4}:n', rate }),
    ];
    expect(commands).toEqual([]);
    endTurn();
    expect(commands).toHaveLength(1);
    const [command] = commands;
    const names = ['a:{192.0.2.1}:n', 't:{t}:all', 'a:{192.0.2.2}:n', 'a:{192.0.2.3}:n', 'a:{192.0.2.4}:n'];
    expect(command!.keys).toEqual(names.map((name) => `p:${name}`));
    const TOTAL_CLAIM = [2, 9, 0, 0];
    expect(command!.attempts).toEqual([
      [1, 5, 100_000, 1_000_000, ...TOTAL_CLAIM],
      [1, 5, 100_000, 1_000_000, ...TOTAL_CLAIM],
      [3, 5, 0, 0, ...TOTAL_CLAIM],
      [4, 5, 0, 0, ...TOTAL_CLAIM],
      [5, -1, 100_000, 1_000_000],
    ]);
    expect(command!.callers.callers).toBe(5);
    await command!.answer([0, 's 2', 'e WRONGTYPE a text', 'r 1 350', 1]);
    expect(await Promise.all(answers)).toEqual([
      { outcome: 'admitted' },
      { outcome: 'refused', claim: 1, wait: undefined },
      { outcome: 'unavailable' },
      { outcome: 'refused', claim: 0, wait: 350 },
      { outcome: 'admitted' },
    ]);
    expect(notes).toEqual(['WRONGTYPE a text']);
    expect(lost()).toBe(1);
  });

  it('made while a command is unanswered wait for others, and are one command', async () => {
    const { ask, endTurn, commands } = admissions();
    jest.setSystemTime(1000);
    const first = ask(TOTAL);
    endTurn();
    expect(commands).toHaveLength(1);
    const later: Promise<ClaimAnswer>[] = [];
    for (let turn = 0; turn < 3; turn++) {
      later.push(ask(TOTAL));
      endTurn();
    }
    expect(commands).toHaveLength(1);
    await commands[0]!.answer([0]);
    expect(await first).toEqual({ outcome: 'admitted' });
    // One that is made after the answer waits with them.
    later.push(ask(TOTAL));
    endTurn();
    expect(commands).toHaveLength(1);
    await jest.advanceTimersByTimeAsync(LONGEST_WAIT);
    endTurn();
    expect(commands.map(({ attempts }) => attempts.length)).toEqual([1, 4]);
    // One connection is confirmed; the bound applies only while releases are not written.
    expect(commands[1]!.bounds).toEqual([[1, Number.MAX_SAFE_INTEGER]]);
    await commands[1]!.answer([0, 0, 's 1', 0]);
    expect((await Promise.all(later)).map(({ outcome }) => outcome)).toEqual([
      'admitted',
      'admitted',
      'refused',
      'admitted',
    ]);
  });

  it('made when every command is answered do not wait', async () => {
    const { ask, endTurn, commands } = admissions();
    for (const count of [1, 2, 3]) {
      const attempt = ask(TOTAL);
      endTurn();
      expect(commands).toHaveLength(count);
      await commands.at(-1)!.answer([0]);
      expect(await attempt).toEqual({ outcome: 'admitted' });
    }
    expect(jest.getTimerCount()).toBe(0);
  });

  it('wait for an unanswered command for a short time only, counted from the first of them', async () => {
    const { ask, endTurn, commands } = admissions();
    jest.setSystemTime(1000);
    void ask(TOTAL);
    endTurn();
    void ask(TOTAL);
    endTurn();
    await jest.advanceTimersByTimeAsync(LONGEST_WAIT);
    endTurn();
    expect(commands.map(({ callers }) => callers)).toEqual([
      { since: 1000, callers: 1 },
      { since: 1000, callers: 1 },
    ]);
    // Redis is slow: the next one does not wait.
    await jest.advanceTimersByTimeAsync(LONGEST_WAIT);
    void ask(TOTAL);
    endTurn();
    expect(commands).toHaveLength(3);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('are divided into commands of a bounded length, which are not held back', () => {
    const { ask, endTurn, commands } = admissions();
    for (let each = 0; each < 2 * MOST_ATTEMPTS + 3; each++) void ask(TOTAL);
    endTurn();
    expect(commands.map(({ attempts }) => attempts.length)).toEqual([MOST_ATTEMPTS, MOST_ATTEMPTS, 3]);
    for (let each = 0; each < MOST_ATTEMPTS; each++) void ask(TOTAL);
    endTurn();
    expect(commands.at(-1)!.attempts).toHaveLength(MOST_ATTEMPTS);
    expect(commands).toHaveLength(4);
  });

  it.each([
    ['that fails', UNAVAILABLE],
    ['whose answer is no list', 0],
    ['whose answers are unknown', ['OK', 'x', '']],
    ['with too few answers', []],
  ])('of a command %s are all undecided', async (_how, answer) => {
    const { ask, endTurn, commands, counters } = admissions();
    const answers = [ask(TOTAL), ask(TOTAL), ask(TOTAL)];
    endTurn();
    await commands[0]!.answer(answer);
    expect(await Promise.all(answers)).toEqual(new Array(3).fill({ outcome: 'unavailable' }));
    // They are counted: the next command says so.
    void ask(TOTAL);
    endTurn();
    expect(commands[1]!.bounds).toEqual([[3, 3]]);
    for (let each = 0; each < 3; each++) counters.release([TOTAL]);
    void ask(TOTAL);
    await commands[1]!.answer([0]);
    await jest.advanceTimersByTimeAsync(LONGEST_WAIT);
    endTurn();
    expect(commands[2]!.bounds).toEqual([[1, 1]]);
  });

  it('bound the stored count by what was sent before them, not by what is sent with them', async () => {
    const { ask, endTurn, commands, counters } = admissions();
    for (let each = 0; each < 5; each++) void ask(TOTAL);
    endTurn();
    await commands[0]!.answer(zeros(5));
    // Redis does not know of these releases.
    for (let each = 0; each < 3; each++) counters.release([TOTAL]);
    for (let each = 0; each < 4; each++) void ask(TOTAL);
    endTurn();
    void ask(TOTAL);
    expect(commands[1]!.bounds).toEqual([[2, 2]]);
    await commands[1]!.answer(zeros(4));
    await jest.advanceTimersByTimeAsync(LONGEST_WAIT);
    endTurn();
    expect(commands[2]!.bounds).toEqual([[6, 6]]);
  });

  it('in a Redis Cluster are one command for each shard', async () => {
    const { ask, endTurn, commands, counters } = admissions(true);
    const answers = [ask(address(1), TOTAL), ask(address(2), TOTAL), ask(address(1), TOTAL)];
    endTurn();
    const of = (key: string): Command => commands.find(({ keys }) => keys[0] === key)!;
    expect(commands.map(({ keys }) => keys)).toEqual([['p:a:{192.0.2.1}:n'], ['p:t:{t}:all'], ['p:a:{192.0.2.2}:n']]);
    await of('p:a:{192.0.2.1}:n').answer([0, 's 1']);
    await of('p:t:{t}:all').answer([0, 's 1', 0]);
    await of('p:a:{192.0.2.2}:n').answer([0]);
    expect(await Promise.all(answers)).toEqual([
      { outcome: 'admitted' },
      { outcome: 'refused', claim: 1, wait: undefined },
      { outcome: 'refused', claim: 0, wait: undefined },
    ]);
    // One connection is left; what a shard has counted for a refused attempt is limited until it is written.
    void ask(address(1), TOTAL);
    void ask(address(2), TOTAL);
    endTurn();
    expect(commands.slice(3).map(({ keys, bounds }) => [keys[0], bounds[0]])).toEqual([
      ['p:a:{192.0.2.1}:n', [1, Number.MAX_SAFE_INTEGER]],
      ['p:t:{t}:all', [1, 1]],
      ['p:a:{192.0.2.2}:n', [0, 0]],
    ]);
    counters.stop();
  });
});
