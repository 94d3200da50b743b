// Echo server on npm ws, without compression: node ws-npm.js PATH-TO-NODE_MODULES-FOLDER
'use strict';
const { WebSocketServer } = require(process.argv[2] + '/ws');

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('listening', () => console.log(`listening on ws://127.0.0.1:${server.address().port}/`));
server.on('connection', (socket) => {
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
  socket.on('error', (error) => console.error(error.message));
});
