import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';

/**
 * A back end for idle watches: it answers each watch with one event, and keeps the response open. Every other request
 * gets `ok`, so that a proxy that asks for `/readyz` finds the server healthy. HTTP/2 and HTTP/1.1.
 */
const [, , port = '', cert = '', key = ''] = process.argv;
const event = `{"type":"ADDED","object":{"padding":"${'x'.repeat(460)}"}}\n`;
const server = createSecureServer({
  cert: readFileSync(cert),
  key: readFileSync(key),
  allowHTTP1: true,
  settings: { maxConcurrentStreams: 250 },
});
server.on('request', (request, response) => {
  if (!request.url.includes('watch=')) {
    response.end('ok');
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  response.write(event);
});
server.listen(Number(port), '127.0.0.1');
