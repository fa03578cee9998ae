import { performance } from 'node:perf_hooks';

/** A connection, as the thread pool sees it. */
export interface PoolUser {
  /**
   * The group that the connection belongs to: its address. Time is shared equally among groups, then among the users
   * of a group. Compared by identity; `undefined`: a group of its own.
   */
  readonly poolGroup: unknown;
  /** Calls back when the work is done. A connection enters its own async context where it calls the application. */
  runInContext(callback: () => void): void;
}

/**
 * Work in several steps of a few milliseconds each. A step calls `next` once, when it has ended; `millis` is the time it
 * took.
 */
export interface PoolTask {
  step(next: (isDone: boolean, millis: number) => void): void;
}

/**
 * Upper bounds of the time that zlib needs: 300 ns for each input byte of empty dynamic blocks, 10 ns for each output
 * byte, doubled or tripled for slower machines. A step that took longer was waiting for a thread or for the event loop.
 */
const WORST_MS_PER_INPUT_BYTE = 0.000_6;
const WORST_MS_PER_OUTPUT_BYTE = 0.000_03;

/** The measured time, limited to what zlib can have needed. */
export const workMillis = (millis: number, inputBytes: number, outputBytes: number): number =>
  Math.min(millis, inputBytes * WORST_MS_PER_INPUT_BYTE + outputBytes * WORST_MS_PER_OUTPUT_BYTE);

/** Milliseconds that may be wasted at once, and the part of a millisecond that is regained in each. */
const MOST_WASTE = 10;
const WASTE_REGAINED = 0.02;
/** Time that an ordinary message takes. */
const EXPECTED_MS = 0.1;
const EXPECTED_MS_PER_BYTE = 0.000_03;
/** Compressed messages of up to this many bytes are not timed: they take 0.1 ms at worst. */
const UNTIMED = 256;

/** zlib jobs that may be in the thread pool at once, over the whole process: half of the pool stays free. */
const MAX_JOBS = 2;

/**
 * Limits on tasks that have begun and not ended, because each holds a stream and its output: per group, in total, and
 * in total for a group that has none yet.
 */
const OPEN_OF_GROUP = 4;
const OPEN = 16;
const OPEN_ONE_EACH = 64;

/**
 * Bounds the time that is wasted on the calling thread: time spent on inflating beyond what the output accounts for.
 * When the allowance is used up, messages are inflated in the thread pool, which is shared fairly by address.
 */
export class WasteAllowance {
  private left = MOST_WASTE;
  private at = 0;

  constructor(private readonly now: () => number) {}

  /** Whether a message of so many compressed bytes may be inflated on the calling thread. */
  allows(inputBytes: number): boolean {
    return inputBytes <= UNTIMED || this.left > 0 || this.regain(this.now()) > 0;
  }

  /** Starts to time a message; 0 where it is too small to be timed. */
  begin(inputBytes: number): number {
    return inputBytes <= UNTIMED ? 0 : this.now();
  }

  /** Charges the allowance. Returns the milliseconds that the message took. */
  end(started: number, inputBytes: number, outputBytes: number): number {
    if (started === 0) return 0;
    const now = this.now();
    const millis = workMillis(now - started, inputBytes, outputBytes);
    const wasted = millis - outputBytes * EXPECTED_MS_PER_BYTE - EXPECTED_MS;
    if (wasted > 0) this.left = this.regain(now) - wasted;
    return millis;
  }

  private regain(now: number): number {
    this.left = Math.min(MOST_WASTE, this.left + (now - this.at) * WASTE_REGAINED);
    this.at = now;
    return this.left;
  }
}

/** The time used by a group, or by a user of a group. The one that has used least is served next. */
interface Share {
  used: number;
}

/** Shares that compete for time. `level` is the time that each would have used, had all been present from the start. */
class Competition<Key, Entrant extends Share> {
  private readonly entrants = new Map<Key, Entrant>();
  private level = 0;

  get size(): number {
    return this.entrants.size;
  }

  get(key: Key): Entrant | undefined {
    return this.entrants.get(key);
  }

  values(): IterableIterator<Entrant> {
    return this.entrants.values();
  }

  /** Adds a new share at the common level: it can neither starve those who wait nor be starved by them. */
  enter(key: Key, entrant: Entrant): Entrant {
    let most = 0;
    for (const { used } of this.entrants.values()) most = Math.max(most, used);
    entrant.used = Math.min(this.level, most);
    this.entrants.set(key, entrant);
    return entrant;
  }

  charge(entrant: Entrant, millis: number): void {
    entrant.used += millis;
    this.level += millis / this.entrants.size;
  }

  leave(key: Key): void {
    this.entrants.delete(key);
  }
}

interface UserShare extends Share {
  readonly user: PoolUser;
  readonly tasks: PoolTask[];
  /** A step of its first task is running; its first task has begun. */
  isRunning: boolean;
  isOpen: boolean;
}

interface GroupShare extends Share {
  readonly key: unknown;
  readonly users: Competition<PoolUser, UserShare>;
  /** Tasks that have begun. */
  open: number;
}

/**
 * A fair queue in front of the thread pool. After each step of a task the next step is given to the group, and within it
 * to the user, that has used the least time: the work of one address delays that of another by a few steps at most. The
 * tasks of a user run one at a time, in order.
 */
export class ZlibPool {
  /** The allowance of the calling thread. */
  readonly waste: WasteAllowance;
  private readonly groups = new Competition<unknown, GroupShare>();
  private running = 0;
  private open = 0;
  private isStarting = false;

  /** `now`: a clock in milliseconds, by which tasks measure their steps. */
  constructor(
    readonly now: () => number = () => performance.now(),
    private readonly maxJobs = MAX_JOBS,
  ) {
    this.waste = new WasteAllowance(now);
  }

  /** Users that have a task here. */
  get users(): number {
    let users = 0;
    for (const group of this.groups.values()) users += group.users.size;
    return users;
  }

  add(user: PoolUser, task: PoolTask): void {
    const key = user.poolGroup ?? user;
    const group =
      this.groups.get(key) ??
      this.groups.enter(key, { key, used: 0, users: new Competition<PoolUser, UserShare>(), open: 0 });
    const share =
      group.users.get(user) ?? group.users.enter(user, { user, used: 0, tasks: [], isRunning: false, isOpen: false });
    share.tasks.push(task);
    this.start();
  }

  private start(): void {
    // A task that ends within its step calls this again: the loop below continues, the stack does not grow.
    if (this.isStarting) return;
    this.isStarting = true;
    while (this.running < this.maxJobs && this.startNext());
    this.isStarting = false;
  }

  private startNext(): boolean {
    let group: GroupShare | undefined;
    let share: UserShare | undefined;
    for (const each of this.groups.values()) {
      if (group !== undefined && each.used >= group.used) continue;
      const user = leastIdle(each.users.values(), this.mayOpen(each));
      if (user !== undefined) [group, share] = [each, user];
    }
    if (group === undefined || share === undefined) return false;
    this.run(group, share);
    return true;
  }

  /** Whether one more task of a group may begin. */
  private mayOpen({ open }: GroupShare): boolean {
    return open === 0 ? this.open < OPEN_ONE_EACH : open < OPEN_OF_GROUP && this.open < OPEN;
  }

  private countOpen(group: GroupShare, share: UserShare, isOpen: boolean): void {
    share.isOpen = isOpen;
    group.open += isOpen ? 1 : -1;
    this.open += isOpen ? 1 : -1;
  }

  private run(group: GroupShare, share: UserShare): void {
    this.running++;
    share.isRunning = true;
    if (!share.isOpen) this.countOpen(group, share, true);
    let isCalled = false;
    share.tasks[0]!.step((isDone, millis) => {
      if (isCalled) return;
      isCalled = true;
      this.running--;
      share.isRunning = false;
      group.users.charge(share, millis);
      this.groups.charge(group, millis);
      if (isDone) {
        share.tasks.shift();
        this.countOpen(group, share, false);
      }
      if (share.tasks.length === 0) group.users.leave(share.user);
      if (group.users.size === 0) this.groups.leave(group.key);
      this.start();
    });
  }
}

/** The least served user that has no step running. `mayOpen`: users whose task has not begun are considered, too. */
function leastIdle(shares: Iterable<UserShare>, mayOpen: boolean): UserShare | undefined {
  let chosen: UserShare | undefined;
  for (const share of shares) {
    if (share.isRunning || !(share.isOpen || mayOpen)) continue;
    if (chosen === undefined || share.used < chosen.used) chosen = share;
  }
  return chosen;
}

/** The pool of the process: Node has one thread pool for all. */
export const zlibPool = new ZlibPool();
