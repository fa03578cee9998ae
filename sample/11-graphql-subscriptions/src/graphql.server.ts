import type { Server } from 'node:http';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { GraphQLInt, GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { type Extra, useServer } from 'graphql-ws/use/ws';
import { foreignAdmission } from 'nest-secure-ws';
import type { JwtClaims } from 'nest-secure-ws/guards';
import { WebSocketServer } from 'ws';

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({ name: 'Query', fields: { version: { type: GraphQLString, resolve: () => '1' } } }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      countTo: {
        type: GraphQLString,
        args: { number: { type: GraphQLInt } },
        async *subscribe(_source, { number }: { number?: number }, { user }: { user: string }) {
          for (let i = 1; i <= (number ?? 0); i++) yield { countTo: `${i} for ${user}` };
        },
      },
    },
  }),
});

/** Subscriptions on the application's HTTP server and port. */
@Injectable()
export class GraphqlServer implements OnApplicationBootstrap, OnModuleDestroy {
  private dispose: (() => void | Promise<void>) | undefined;

  constructor(private readonly host: HttpAdapterHost) {}

  onApplicationBootstrap(): void {
    const server = this.host.httpAdapter.getHttpServer() as Server;
    const webSockets = new WebSocketServer({ server, path: '/graphql' });
    const { dispose } = useServer(
      {
        schema,
        // The guard has verified the token.
        context: ({ extra }) => {
          const admission = foreignAdmission((extra as Extra).request);
          return { user: (admission?.principal as JwtClaims | undefined)?.sub };
        },
      },
      webSockets,
    );
    this.dispose = dispose;
  }

  async onModuleDestroy(): Promise<void> {
    await this.dispose?.();
  }
}
