// /plaintext on Node's http: node http-node.js PORT
'use strict';
const http = require('http');

const server = http.createServer((request, response) => {
  if (request.headers.connection !== 'close') response.removeHeader('Connection');
  response.writeHead(200, { Server: 'node', 'Content-Type': 'text/plain', 'Content-Length': '13' });
  response.end('Hello, World!');
});
server.keepAliveTimeout = 3600e3;
server.requestTimeout = 0;
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
