import { readdirSync } from 'node:fs';

/** The number of open TCP sockets of this process, without listeners. */
export function openSockets() {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

/** The number of open file descriptors of this process, or -1 without /proc. */
export function openDescriptors() {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return -1;
  }
}
