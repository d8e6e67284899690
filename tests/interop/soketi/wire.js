// Stands between soketi and hookferry on one side and a queue on the other: passes everything on as it
// is, and notes each call with its protocol, and of each message sent its place in the queue.
const http = require('node:http');
const { EventEmitter } = require('node:events');

// What a call says, by either protocol of SQS.
function parse(headers, body) {
  const target = headers['x-amz-target'];
  if (target) return { protocol: 'json', action: target.split('.')[1], parameters: JSON.parse(body) };
  const parameters = Object.fromEntries(new URLSearchParams(body));
  return { protocol: 'query', action: parameters.Action, parameters };
}

function sequenceNumber(protocol, answer) {
  return protocol === 'json' ? JSON.parse(answer).SequenceNumber : /<SequenceNumber>(\d+)</.exec(answer)[1];
}

const collect = async (stream) => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
};

class Wire extends EventEmitter {
  constructor(queue) {
    super();
    this.queue = new URL(queue);
    this.agent = new http.Agent({ keepAlive: true });
    this.calls = new Set();
    this.sentBy = new Set();
    this.messages = new Map();
    this.server = http.createServer((request, response) => {
      this.pass(request, response).catch((error) => response.destroy(error));
    });
  }

  async pass(request, response) {
    const body = await collect(request);
    const { protocol, action, parameters } = parse(request.headers, body.toString());
    this.calls.add(`${action} by ${protocol}`);
    const { hostname, port } = this.queue;
    const { method, url: path, headers } = request;
    const onward = http.request({ hostname, port, method, path, headers, agent: this.agent });
    response.on('close', () => { if (!response.writableFinished) onward.destroy(); });
    const answer = await new Promise((resolve, reject) => {
      onward.on('response', resolve).on('error', reject).end(body);
    });
    const text = await collect(answer);
    if (action === 'SendMessage' && answer.statusCode === 200) {
      this.sentBy.add(protocol);
      this.messages.set(sequenceNumber(protocol, text.toString()), parameters);
      this.emit('sent');
    }
    response.writeHead(answer.statusCode, answer.headers).end(text);
  }

  // The messages in the order of the queue, by the type of their webhooks; each once, however often sent.
  byType() {
    const types = {};
    for (const number of [...this.messages.keys()].sort()) {
      const { MessageGroupId, MessageBody } = this.messages.get(number);
      const type = /^app-id_(.+)_webhooks$/.exec(MessageGroupId)[1];
      (types[type] ||= []).push(MessageBody);
    }
    return types;
  }
}

module.exports = { Wire, collect };
