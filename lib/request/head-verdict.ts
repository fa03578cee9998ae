/** The head is not complete and nothing is wrong with it so far. */
export const MORE = 0;
/** The head is complete: see `head` and `rest`. */
export const COMPLETE = 1;
/** The head breaks a limit or the grammar: see `fault`. */
export const FAULT = 2;
/** Shared ports only: not a WebSocket upgrade, or not one that may be judged here: see `taken`. */
export const ORDINARY = 3;
export type HeadVerdict = typeof MORE | typeof COMPLETE | typeof FAULT | typeof ORDINARY;
