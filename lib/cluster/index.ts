export * from './contract.js';
export { type ContractTest, clusterBusTests, clusterStoreTests } from './contract-tests.js';
export { MemoryCluster } from './memory.js';
export type { ClusterState, RoomMember } from './node.js';
