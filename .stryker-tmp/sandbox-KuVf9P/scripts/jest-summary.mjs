/** Closes a run with one plain line: how many tests passed, failed, were skipped. */
// @ts-nocheck

export default class Summary {
  onRunComplete(_contexts, { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites }) {
    const failed = numFailedTests + (numFailedTests === 0 ? numFailedTestSuites : 0);
    console.log(`\n${numPassedTests} passed, ${failed} failed, ${numPendingTests} skipped`);
  }
}
