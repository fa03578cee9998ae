/** Shorter parts of a string are copies anyway: V8 makes slices, which keep the whole string alive, from 13 on. */
const SHORTEST_SLICE = 13;

/**
 * A copy of latin1 text that does not keep the string it was cut from in memory: what outlives the handshake (a path, an
 * origin) must not hold a head of a megabyte.
 */
export const detach = (text: string): string =>
  text.length < SHORTEST_SLICE ? text : Buffer.from(text, 'latin1').toString('latin1');
