// One round: real Pusher clients, a real soketi that enqueues its webhooks, hookferry that delivers
// them, a receiver that believes Pusher's own library alone.
//   node check.js NAME PROTOCOL QUEUE_ENDPOINT NODE HOOKFERRY      in a directory made by setup.sh
const assert = require('node:assert/strict');
const { fork, spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const { once } = require('node:events');
const { setTimeout: pause } = require('node:timers/promises');
const { SQS, VERSION: SDK } = require('aws-sdk');
const Pusher = require('pusher');
const { Wire, collect } = require('./wire');

const MESSAGES = 40;
const PATIENCE_MS = 60_000;
const [name, protocol, endpoint, node, hookferry] = process.argv.slice(2);
const credentials = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };
const sqs = new SQS({ endpoint, region: 'us-east-1', accessKeyId: 'local', secretAccessKey: 'local' });
const pusher = new Pusher({ appId: 'app-id', key: 'app-key', secret: 'app-secret', host: '127.0.0.1' });
const children = [];

async function createQueue(QueueName, Attributes) {
  const recommended = { FifoQueue: 'true', VisibilityTimeout: '5' };
  return (await sqs.createQueue({ QueueName, Attributes: { ...recommended, ...Attributes } }).promise()).QueueUrl;
}

async function attributes(QueueUrl) {
  return (await sqs.getQueueAttributes({ QueueUrl, AttributeNames: ['All'] }).promise()).Attributes;
}

async function isEmpty(queue) {
  const counts = await attributes(queue);
  return ['', 'NotVisible', 'Delayed'].every((kind) => counts[`ApproximateNumberOfMessages${kind}`] === '0');
}

async function listen(server) {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server.address().port;
}

async function freePort() {
  const server = net.createServer();
  const port = await listen(server);
  await once(server.close(), 'close');
  return port;
}

// The block of environment as an operator of soketi has it. hookferry gets the same one, unchanged.
function environment(port, clusterPort, queueUrl, queueEndpoint, webhook) {
  const eventTypes =
    ['client_event', 'channel_occupied', 'channel_vacated', 'member_added', 'member_removed', 'cache_miss'];
  return {
    ...credentials,
    SOKETI_MODE: 'server',
    SOKETI_HOST: '127.0.0.1',
    SOKETI_PORT: `${port}`,
    SOKETI_CLUSTER_PORT: `${clusterPort}`,
    SOKETI_QUEUE_DRIVER: 'sqs',
    SOKETI_QUEUE_SQS_URL: queueUrl,
    SOKETI_QUEUE_SQS_ENDPOINT: queueEndpoint,
    SOKETI_QUEUE_SQS_REGION: 'us-east-1',
    SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES: 'true',
    SOKETI_DEFAULT_APP_WEBHOOKS: JSON.stringify([{ url: webhook, event_types: eventTypes }]),
  };
}

function start(label, command, args, env) {
  const log = fs.openSync(`${name}-${label}.log`, 'w');
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', log, log] });
  child.ended = new Promise((resolve) => { child.on('exit', (code, signal) => resolve(code ?? signal)); });
  children.push(child);
  return child;
}

async function until(what, condition) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it never came about that ${what()}`);
    await pause(50);
  }
}

// Lets the clients do what they do, and returns how many webhooks of each type that has to make.
async function drive(port, wire) {
  const child = fork('drive.js', [port, MESSAGES]);
  children.push(child);
  // Clients that are done no longer listen.
  wire.on('sent', () => child.connected && child.send(wire.byType().client_event?.length ?? 0, () => {}));
  const timer = setTimeout(() => child.kill(), PATIENCE_MS);
  const told = once(child, 'message');
  const [code] = await once(child, 'exit');
  clearTimeout(timer);
  assert.equal(code, 0, 'the clients got through');
  return (await told)[0];
}

// What arrived, by type, every one of them a webhook in the eyes of Pusher's library.
function believed(arrivals) {
  const types = {};
  for (const { headers, rawBody } of arrivals) {
    const webhook = pusher.webhook({ headers, rawBody });
    assert.ok(webhook.isValid(), `Pusher's library refuses ${rawBody}`);
    assert.ok(Math.abs(Date.now() - webhook.getTime()) < 600_000, 'its time is about now');
    const [event, ...more] = webhook.getEvents();
    assert.deepEqual(more, [], 'soketi sends one event a webhook');
    (types[event.name] ||= []).push({ event, rawBody });
  }
  return types;
}

function compare(expected, queued, arrived, arrivals) {
  const counts = (types) => Object.fromEntries(Object.keys(expected).map((type) => [type, types[type]?.length ?? 0]));
  assert.deepEqual(counts(queued), expected, 'soketi enqueued what the clients did');
  assert.deepEqual(counts(arrived), expected, 'all of it arrived, once');
  for (const type of Object.keys(expected)) {
    arrived[type].forEach(({ rawBody }, n) => {
      const job = queued[type][n];
      const same = job.includes(`"payload":${rawBody},"originalPusherSignature"`);
      assert.ok(same, `${type} ${n}: in the order of the queue, byte for byte`);
    });
  }
  const client = arrived.client_event.map(({ event }) => event);
  const numbers = (said) => client.filter(({ event }) => event === said).map(({ data }) => data.n);
  const typed = [...Array(MESSAGES).keys()];
  assert.deepEqual(numbers('client-greeting'), typed, 'what was typed slowly is in the order of typing');
  assert.deepEqual(numbers('client-babble').sort((a, b) => a - b), typed, 'what was typed fast is complete');
  assert.equal(new Set(arrivals.map(({ headers }) => headers['x-hookferry-id'])).size, arrivals.length);
}

async function main() {
  const arrivals = [];
  const receiver = http.createServer(async (request, response) => {
    arrivals.push({ headers: request.headers, rawBody: (await collect(request)).toString() });
    response.end();
  });
  const wire = new Wire(endpoint);
  const unique = `${name}-${protocol}-${process.pid}-${Date.now()}`;
  const dead = await createQueue(`${unique}-dead.fifo`);
  const target = (await attributes(dead)).QueueArn;
  const policy = JSON.stringify({ deadLetterTargetArn: target, maxReceiveCount: 1000 });
  const queue = await createQueue(`${unique}.fifo`, { RedrivePolicy: policy });
  const [port, wirePort] = [await freePort(), await listen(wire.server)];
  const wired = `http://127.0.0.1:${wirePort}`;
  const block = environment(
    port, await freePort(), wired + new URL(queue).pathname, wired, `http://127.0.0.1:${await listen(receiver)}/`);
  const soketi = start('soketi', node, ['node_modules/@soketi/soketi/bin/server.js', 'start'], block);
  const worker = start('hookferry', hookferry, ['run'], { ...block, METRICS_PORT: '0', WEBHOOKS_ALLOWED_NETWORKS: '127.0.0.0/8' });
  await until(() => 'soketi is ready', () => fetch(`http://127.0.0.1:${port}/ready`).then((r) => r.ok, () => false));

  const expected = await drive(port, wire);
  const total = Object.values(expected).reduce((sum, count) => sum + count);
  await until(() => `${total} webhooks arrive, but only ${arrivals.length}`, () => arrivals.length >= total);
  await until(() => 'the queue is empty', () => isEmpty(queue));
  assert.ok(await isEmpty(dead), 'the dead-letter queue is empty');
  const arrived = believed(arrivals);
  compare(expected, wire.byType(), arrived, arrivals);
  const calls = [...wire.calls].sort();
  // hookferry asks at its start whether it may send to the dead-letter queue, by a message that no queue takes.
  assert.deepEqual([...wire.sentBy], [protocol]);
  assert.ok(calls.includes('ReceiveMessage by json') && calls.includes('DeleteMessageBatch by json'), `${calls}`);
  worker.kill('SIGTERM');
  assert.equal(await worker.ended, 0, 'hookferry ends well');
  assert.equal(soketi.exitCode, null, 'soketi has lived all along');
  const shown = Object.entries(expected).map(([type, count]) => `${count} ${type}`).join(', ');
  console.log(`ok  ${name}, soketi's jobs by ${protocol} (aws-sdk ${SDK}): ${total} webhooks, each valid, `
    + `once, in order; queues empty: ${shown}`);
}

main().then(() => 0, (error) => { console.error(`${name}, ${protocol}:`, error); return 1; }).then((code) => {
  children.forEach((child) => child.kill('SIGKILL'));
  process.exit(code);
});
