export { type ContractTest, clusterBusTests, clusterStoreTests } from '../cluster/contract-tests.js';
export { MemoryCluster } from '../cluster/memory.js';
export { type AttemptOptions, attempt } from './attempt.js';
export { connectTo } from './connect-to.js';
