import { readFileSync } from 'node:fs';
import { connect, createSecureContext } from 'node:tls';

/**
 * Opens TLS connections without session resumption, sends one small request on each, and prints the number of answers.
 */
const [, , port = '', caFile = '', seconds = '', path = '/'] = process.argv;
const secureContext = createSecureContext({ ca: readFileSync(caFile) });
const until = performance.now() + Number(seconds) * 1_000;
const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
let answered = 0;
let failed = 0;

function handshake(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port: Number(port), host: '127.0.0.1', servername: 'localhost', secureContext });
    let isAnswered = false;
    socket.once('secureConnect', () => socket.write(request));
    socket.once('data', (head: Buffer) => {
      isAnswered = head.toString('latin1', 0, 12) === 'HTTP/1.1 200';
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      if (isAnswered) answered++;
      else failed++;
      resolve();
    });
  });
}

async function keepShaking(): Promise<void> {
  while (performance.now() < until) await handshake();
}

await Promise.all(Array.from({ length: 16 }, keepShaking));
process.stdout.write(`${JSON.stringify({ answered, failed })}\n`);
