/**
 * How often a property is tried, and how often something must occur in it: a tenth while Stryker runs a mutant, because
 * each mutant runs every test that reaches it; RUNS times as often for a longer search.
 */
export const runs = (usual: number): number =>
  process.env['STRYKER_MUTATOR_WORKER'] === undefined
    ? usual * Number(process.env['RUNS'] ?? 1)
    : Math.ceil(usual / 10);
