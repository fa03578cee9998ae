// @ts-nocheck
import { readdirSync } from 'node:fs';

/** TCP sockets this process has open, its listeners not counted. */
export function openSockets() {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

/** Open file descriptors of this process, or -1 where there is no /proc. */
export function openDescriptors() {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return -1;
  }
}
