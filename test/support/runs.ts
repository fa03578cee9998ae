/**
 * How often a property is tried, and how often something must have been seen in it: a tenth while a mutant of the code
 * under test is run, as each mutant runs every test that reaches it.
 */
export const runs = (usual: number): number =>
  process.env['STRYKER_MUTATOR_WORKER'] === undefined ? usual : Math.ceil(usual / 10);
