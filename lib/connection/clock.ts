/** Time, as everything here sees it; tests bring their own. */
export interface Clock {
  /** Milliseconds that only ever grow. */
  now(): number;
  /** Calls back every `interval` milliseconds, without keeping the process alive; returns what ends it. */
  every(interval: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  every(interval, callback) {
    const timer = setInterval(callback, interval).unref();
    return () => clearInterval(timer);
  },
};
