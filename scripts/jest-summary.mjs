/**
 * A Jest reporter that ends a run with one plain line: the numbers of passed, failed and skipped tests. With
 * NONE_SKIPPED=1, a skipped test fails the run.
 */
export default class Summary {
  #skipped = 0;

  onRunComplete(_contexts, { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites }) {
    const failed = numFailedTests + (numFailedTests === 0 ? numFailedTestSuites : 0);
    this.#skipped = numPendingTests;
    console.log(`\n${numPassedTests} passed, ${failed} failed, ${numPendingTests} skipped`);
  }

  getLastError() {
    if (process.env.NONE_SKIPPED !== '1' || this.#skipped === 0) return undefined;
    return new Error(`${this.#skipped} tests were skipped, although everything that they need is installed`);
  }
}
