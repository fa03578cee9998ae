import { Module } from '@nestjs/common';
import { SecureWsModule } from 'nest-secure-ws';

/** An application with two invalid options. */
@Module({
  imports: [SecureWsModule.forRoot({ messages: { maxSize: 'huge' }, maxPayload: 7 } as object)],
})
export class AppModule {}
