import { ratios, spread } from '../support/stats.mjs';

/** One row of the table: samples by server, turn after turn. `limits` is the requirement for ours: ratios to `base`, or a `max`. */
export class Row {
  samples = {};

  constructor({ id, title, unit, base = 'bare', limits = {} }) {
    Object.assign(this, { id, title, unit, base, limits });
  }

  add(server, value) {
    (this.samples[server] ??= []).push(value);
  }

  summary() {
    const base = this.samples[this.base];
    const servers = Object.fromEntries(
      Object.entries(this.samples).map(([key, samples]) => [
        key,
        { ...spread(samples), ratio: base ? ratios(samples, base) : null, samples },
      ]),
    );
    const { id, title, unit, base: key, limits } = this;
    return { id, title, unit, base: key, limits, measuredAt: new Date().toISOString(), servers };
  }
}
