// @ts-nocheck
export { type AttemptOptions, attempt } from './attempt.js';
export { connectTo } from './connect-to.js';
