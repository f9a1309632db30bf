/** The broker on PostgreSQL: the suite of all brokers, and what only this one can get wrong. */

import { LACKS_POSTGRES, sharedPostgres } from "../testing/postgres.ts";
import { testBroker } from "./contract.ts";
import { openPostgresBroker } from "./postgres.ts";

const ignore = LACKS_POSTGRES;

testBroker("PostgresBroker", async (limits) => {
  const server = sharedPostgres(), schema = server.newSchema();
  const open = () => openPostgresBroker({ url: server.url(), schema, secondLookMs: 0, ...limits });
  let broker = await open();
  return {
    broker,
    expire: () => broker.expire(),
    reopen: async () => {
      await broker.close();
      return broker = await open();
    },
    [Symbol.asyncDispose]: () => broker.close(),
  };
}, ignore);
