/**
 * `held`: refused or limited, as it should be; `accepted`: not refused; `ended`: the server is down; `skipped`: not
 * applicable, or not possible.
 */
export type Verdict = 'held' | 'accepted' | 'ended' | 'skipped';

export interface Outcome {
  readonly verdict: Verdict;
  /** A description of the observation. */
  readonly seen: string;
  /** The connection ended without an answer; the server may have ended too. */
  readonly abrupt?: boolean;
}

export const held = (seen: string, abrupt = false): Outcome => ({ verdict: 'held', seen, abrupt });
export const accepted = (seen: string): Outcome => ({ verdict: 'accepted', seen });
export const skipped = (seen: string): Outcome => ({ verdict: 'skipped', seen });

/** The server does not open a WebSocket, so attacks that need one are not possible. */
export class NoWebSocket extends Error {
  override readonly name = 'NoWebSocket';
}
