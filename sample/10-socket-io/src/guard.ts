import { allow, refuse, type UpgradeAttempt } from 'nest-secure-ws';

/** A placeholder for a real check: a token, a ticket, a session. */
export const byName = ({ query }: UpgradeAttempt) => {
  const name = query.get('name');
  return name === null || name === '' ? refuse(401) : allow({ principal: { name }, userKey: name });
};
