/**
 * `held`: refused, or held back, as it should; `accepted`: the server went along; `ended`: the server is gone;
 * `skipped`: it does not apply, or could not be tried.
 */
export type Verdict = 'held' | 'accepted' | 'ended' | 'skipped';

export interface Outcome {
  readonly verdict: Verdict;
  /** What was seen. */
  readonly seen: string;
  /** The connection ended without an answer: perhaps the server did, too. */
  readonly abrupt?: boolean;
}

export const held = (seen: string, abrupt = false): Outcome => ({ verdict: 'held', seen, abrupt });
export const accepted = (seen: string): Outcome => ({ verdict: 'accepted', seen });
export const skipped = (seen: string): Outcome => ({ verdict: 'skipped', seen });

/** The server does not open a WebSocket for us, so that what needs one cannot be tried. */
export class NoWebSocket extends Error {
  override readonly name = 'NoWebSocket';
}
