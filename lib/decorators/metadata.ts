/** Keys under which decorators leave what the module reads. */
export const ADMISSION_GUARDS = 'nest-secure-ws:admission-guards';
export const MESSAGE_RATE = 'nest-secure-ws:message-rate';
