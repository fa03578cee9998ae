export { type ContractTest, clusterBusTests, clusterStoreTests } from '../cluster/contract-tests.js';
export { MemoryCluster } from '../cluster/memory.js';
export { type AttemptOptions, attempt } from './attempt.js';
export { type ConnectToOptions, connectTo, type UpgradeOptions } from './connect-to.js';
export { type ExpectedRefusal, expectRefusal, type ObservedRefusal, type RefusedAttempt } from './expect-refusal.js';
export { type ReceivedEvent, TestClient, type TestClientOptions, type WaitOptions } from './test-client.js';
