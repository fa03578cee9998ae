/** A fast pseudo-random generator, reproducible by its seed. */
export class Random {
  constructor(private state: number) {
    this.state = Math.imul(state ^ 0x9e3779b9, 0x85ebca6b) | 1;
  }

  /** An integer below `limit`. */
  below(limit: number): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return (x >>> 0) % limit;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}
