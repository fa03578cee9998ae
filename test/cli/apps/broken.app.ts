import { Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';

/** Its options are wrong in two places. */
@Module({
  imports: [SecureWsModule.forRoot({ messages: { maxSize: 'huge' }, maxPayload: 7 } as object)],
})
export class AppModule {}
