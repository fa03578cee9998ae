// @ts-nocheck
import { MAX_ZLIB_JOBS } from './settings.js';

type Run = (done: () => void) => void;

interface Job {
  readonly owner: object;
  readonly run: Run;
  next: Job | undefined;
}

/**
 * The queue in front of the thread pool, one for the process because the pool is. An owner (a connection) has at
 * most one job running, so that two connections at least share the pool; and since a connection waits for its
 * messages one by one, first come first served goes round all of them.
 */
let head: Job | undefined;
let tail: Job | undefined;
const running = new Set<object>();

/** Calls `run` when it is its turn; `run` calls `done` once, whatever happens. */
export function enqueue(owner: object, run: Run): void {
  const job: Job = { owner, run, next: undefined };
  if (tail === undefined) head = job;
  else tail.next = job;
  tail = job;
  startJobs();
}

function startJobs(): void {
  while (running.size < MAX_ZLIB_JOBS) {
    const job = takeFirstIdle();
    if (job === undefined) return;
    start(job);
  }
}

/** Passes over jobs of running owners only: an inflation and a compression each, so a few at most. */
function takeFirstIdle(): Job | undefined {
  let before: Job | undefined;
  for (let job = head; job !== undefined; before = job, job = job.next) {
    if (running.has(job.owner)) continue;
    if (before === undefined) head = job.next;
    else before.next = job.next;
    if (job === tail) tail = before;
    return job;
  }
  return undefined;
}

function start({ owner, run }: Job): void {
  running.add(owner);
  let finished = false;
  run(() => {
    if (finished) return;
    finished = true;
    running.delete(owner);
    startJobs();
  });
}
