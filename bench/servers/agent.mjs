import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';
import { openDescriptors, openSockets } from '../support/descriptors.mjs';
import { answer } from '../support/rpc.mjs';

/** The parent's configuration of this server. */
export const config = JSON.parse(process.argv[2] ?? '{}');

/**
 * Answers the runner's questions about this process; `stats` adds the server's own counters, `begun` is the time at which
 * the application began to be created (milliseconds since the start of the process).
 */
export function measured({ port, stats = () => null, begun = 0 }) {
  const ready = performance.now();
  answer({
    port: () => port,
    started: () => ({ create: ready - begun, whole: ready }),
    cpu: () => cpuMicros(),
    sockets: () => openSockets(),
    memory: async () => {
      await collect();
      // Nothing may run between the last collection and the figures: answers to pings would be in the heap, too.
      globalThis.gc();
      const { rss, heapUsed } = process.memoryUsage();
      return {
        rss,
        heapUsed,
        young: youngGeneration(),
        sockets: openSockets(),
        descriptors: openDescriptors(),
        stats: stats(),
      };
    },
  });
}

/** Bytes of physical memory of V8's young generation, which V8 enlarges to a fixed size while much is allocated. */
function youngGeneration() {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').physical_space_size;
}

/** User and system time of every thread of this process, in microseconds. */
function cpuMicros() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

// Finalizers and the allocator's release of pages need turns of the loop between collections.
async function collect() {
  for (let turn = 0; turn < 4; turn++) {
    globalThis.gc();
    await sleep(40);
  }
}
