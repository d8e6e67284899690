// hookferry between a queue of sockudo's jobs and a receiver that believes Pusher's own library alone.
//   node check.js QUEUE_ENDPOINT HOOKFERRY JOBS
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const { once } = require('node:events');
const { setTimeout: pause } = require('node:timers/promises');
const Pusher = require('pusher');

const PATIENCE_MS = 60_000;
const [endpoint, hookferry, jobs] = process.argv.slice(2);
const pushers = Object.fromEntries(['one', 'two'].map((id) => (
  [`${id}-key`, new Pusher({ appId: id, key: `${id}-key`, secret: `${id}-secret`, host: '127.0.0.1' })])));

async function main() {
  const arrivals = [];
  const receiver = http.createServer(async (request, response) => {
    const chunks = await request.toArray();
    arrivals.push({ path: request.url, headers: request.headers, rawBody: Buffer.concat(chunks).toString() });
    response.end();
  });
  await once(receiver.listen(0, '127.0.0.1'), 'listening');
  const app = (id) => ({ id, key: `${id}-key`, secret: `${id}-secret`,
    webhooks: [{ url: `http://127.0.0.1:${receiver.address().port}/${id}` }] });
  fs.writeFileSync('apps.json', JSON.stringify([app('one'), app('two')]));
  const log = fs.openSync('hookferry.log', 'w');
  const worker = spawn(hookferry, ['run'], { stdio: ['ignore', log, log], env: { ...process.env,
    QUEUE_SQS_URL: `${endpoint}/000000000000/webhooks.fifo`, QUEUE_SQS_ENDPOINT: endpoint, METRICS_PORT: '0',
    APPS_FILE: 'apps.json', WEBHOOKS_ALLOWED_NETWORKS: '127.0.0.0/8' } });
  try {
    const end = Date.now() + PATIENCE_MS;
    while (arrivals.length < Number(jobs) && Date.now() < end) await pause(50);
    assert.equal(arrivals.length, Number(jobs), 'every job arrived, once');
  } finally {
    worker.kill();
    receiver.close();
  }
  const types = new Set();
  const rounds = { '/one': [], '/two': [] };
  for (const { path, headers, rawBody } of arrivals) {
    const webhook = pushers[headers['x-pusher-key']].webhook({ headers, rawBody });
    assert.ok(webhook.isValid(), `Pusher's library refuses ${rawBody}`);
    const [event] = webhook.getEvents();
    types.add(event.name);
    if (event.name === 'client_event') rounds[path].push(event.data.n);
  }
  assert.equal(types.size, 18, `all of sockudo's event types: ${[...types]}`);
  for (const ns of Object.values(rounds)) assert.deepEqual(ns, [...ns.keys()], 'in order');
  console.log(`sockudo ok: ${arrivals.length} webhooks of ${types.size} types`);
}

main().catch((error) => { console.error(error); process.exit(1); });
