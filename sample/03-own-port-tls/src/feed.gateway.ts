import { SubscribeMessage } from '@nestjs/websockets';
import { allow, Principal, refuse, SecureGateway, type UpgradeAttempt, UseAdmissionGuards } from 'nest-secure-ws';

export const PORT = 8443;

/** The certificate has been verified; its name becomes the principal. */
function byCertificate({ certificate }: UpgradeAttempt) {
  const name = certificate?.subject.CN;
  return name === undefined ? refuse(403) : allow({ principal: name });
}

@SecureGateway(PORT, { path: '/feed', listen: { host: 'localhost' } })
@UseAdmissionGuards(byCertificate)
export class FeedGateway {
  @SubscribeMessage('hello')
  hello(@Principal() name: string) {
    return { event: 'hello', data: `hello, ${name}` };
  }
}
