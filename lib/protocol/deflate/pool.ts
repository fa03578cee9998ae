/** Who has work done in the thread pool: a connection. */
export interface PoolUser {
  /**
   * Whom it shares its turns with: its address, say. Groups take turns, and within a group its users. Compared by
   * identity; `undefined`: it is a group of its own.
   */
  readonly poolGroup: unknown;
  /** Calls back in the async context of the connection. */
  runInContext(callback: () => void): void;
}

/**
 * Work that takes several steps, each of some milliseconds at most. `next` is called once per step, later; `millis` is
 * what the step took.
 */
export interface PoolTask {
  step(next: (isDone: boolean, millis: number) => void): void;
}

/**
 * The longest that zlib can take: 300 ns for each byte of empty dynamic blocks, 10 ns for a byte of output, with room
 * for slower machines. What a step lasted beyond it, it waited: for a thread, or for the event loop.
 */
const WORST_MS_PER_INPUT_BYTE = 0.000_6;
const WORST_MS_PER_OUTPUT_BYTE = 0.000_03;

/** `millis`, or the longest that zlib can have taken for it. */
export const workMillis = (millis: number, inputBytes: number, outputBytes: number): number =>
  Math.min(millis, inputBytes * WORST_MS_PER_INPUT_BYTE + outputBytes * WORST_MS_PER_OUTPUT_BYTE);

/** Milliseconds that may be wasted at once, and those regained in each. */
const MOST_WASTE = 10;
const WASTE_REGAINED = 0.02;
/** What a message takes without any waste. */
const EXPECTED_MS = 0.1;
const EXPECTED_MS_PER_BYTE = 0.000_03;
/** Compressed messages too small to be worth a look at the clock: a tenth of a millisecond at the worst. */
const UNTIMED = 256;

/** zlib jobs that may be in the thread pool at once, over the whole process: half of the pool stays free. */
const MAX_JOBS = 2;

/**
 * Tasks that may have begun and not ended, each of which holds a stream and what came out of it: of one group, of all
 * together, and of all together where a group has none.
 */
const OPEN_OF_GROUP = 4;
const OPEN = 16;
const OPEN_ONE_EACH = 64;

/**
 * How much more time than their output explains messages may take on the calling thread: what is left here, which comes
 * back slowly. Without any, messages go to the thread pool, where addresses take turns.
 */
export class WasteAllowance {
  private left = MOST_WASTE;
  private at = 0;

  constructor(private readonly now: () => number) {}

  /** Whether a message of so many compressed bytes may be inflated on the calling thread. */
  allows(inputBytes: number): boolean {
    return inputBytes <= UNTIMED || this.left > 0 || this.regain(this.now()) > 0;
  }

  /** When work begins; 0 where it is too little to be timed. */
  begin(inputBytes: number): number {
    return inputBytes <= UNTIMED ? 0 : this.now();
  }

  /** Milliseconds that it took. */
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

/** A group, or a user in it: whoever has used least time goes next. */
interface Share {
  used: number;
}

/** Shares that compete, and the time that each of them would have had by now, had all been there from the start. */
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

  /** Who comes anew, or again, starts level with the others: neither before those who wait, nor behind all of them. */
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
  /** A step of its first task is under way, and one was. */
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
 * The queue in front of the thread pool. A task goes back into the queue after each step, and the next step is that of
 * the group, and in it of the user, that has used least time: what a few connections or one address ask for delays
 * nobody else by more than a step. A user has one task running at a time, in order.
 */
export class ZlibPool {
  /** Of the calling thread. */
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
    // A task that is done at once comes back here: no deeper stack for each.
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

/** Of those that have nothing running; `mayOpen`: also of those whose task has not begun. */
function leastIdle(shares: Iterable<UserShare>, mayOpen: boolean): UserShare | undefined {
  let chosen: UserShare | undefined;
  for (const share of shares) {
    if (share.isRunning || !(share.isOpen || mayOpen)) continue;
    if (chosen === undefined || share.used < chosen.used) chosen = share;
  }
  return chosen;
}

/** That of the process: there is one thread pool. */
export const zlibPool = new ZlibPool();
