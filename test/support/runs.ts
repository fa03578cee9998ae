/**
 * How often a property is tried: fewer times while a mutant of the code under test is run, as each mutant runs every
 * test that reaches it.
 */
export const runs = (usual: number): number =>
  process.env['STRYKER_MUTATOR_WORKER'] === undefined ? usual : Math.min(usual, Math.max(50, Math.ceil(usual / 50)));
