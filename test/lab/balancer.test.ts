import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { expect } from 'chai';
import { type Backend, type Balancer, startBalancer } from '../../lab/cluster/balancer.ts';
import { waitUntil } from '../../lab/wait-until.ts';

const host = '127.0.0.1';

describe('The load balancer of the cluster', () => {
  const servers: Server[] = [];
  let balancer: Balancer | undefined;

  afterEach(() => {
    balancer?.close();
    for (const server of servers.splice(0)) server.close();
  });

  /** A backend that greets with its name. */
  async function backend(name: string): Promise<Backend> {
    const server = createServer((socket) => socket.on('error', () => {}).write(name));
    servers.push(server.listen(0, host));
    await once(server, 'listening');
    return { name, host, port: (server.address() as AddressInfo).port, isHealthy: async () => true };
  }

  async function greeting({ port }: Balancer): Promise<string> {
    const socket = connect({ host, port });
    const [greeted] = (await once(socket, 'data')) as [Buffer];
    return greeted.toString();
  }

  it('gives a connection to the endpoint with the fewest', async () => {
    balancer = await startBalancer(host, 0, [await backend('a'), await backend('b')]);
    const { port } = balancer;
    expect([await greeting(balancer), await greeting(balancer), await greeting(balancer)]).to.have.members([
      'a',
      'b',
      'a',
    ]);
    expect([port > 0, balancer.connections()]).to.deep.equal([true, [2, 1]]);
  });

  it('tries the next endpoint if one refuses', async () => {
    const gone = await backend('gone');
    const server = servers.pop();
    server?.close();
    balancer = await startBalancer(host, 0, [gone, await backend('b')]);
    expect(await greeting(balancer)).to.equal('b');
  });

  it('forgets a connection that its client has closed', async () => {
    const started = await startBalancer(host, 0, [await backend('a')]);
    balancer = started;
    const socket = connect({ host, port: started.port });
    await once(socket, 'data');
    socket.destroy();
    await waitUntil('no connection', async () => started.connections()[0] === 0);
  });
});
