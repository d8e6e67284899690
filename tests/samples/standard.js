// Verifies received webhooks by the reference library of Standard Webhooks.   node standard.js ARRIVALS SECRET…
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Webhook } = require('standardwebhooks');

const [path, ...secrets] = process.argv.slice(2);
const arrivals = fs.readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
for (const secret of secrets) {
  // An app's secret, as the library expects it.
  const library = new Webhook(`whsec_${Buffer.from(secret).toString('base64')}`);
  for (const { raw, standard } of arrivals) {
    assert.deepEqual(library.verify(raw, standard), JSON.parse(raw));
    // A capture under another id, or with another body, is not taken.
    assert.throws(() => library.verify(`${raw} `, standard));
    assert.throws(() => library.verify(raw, { ...standard, 'webhook-id': 'another' }));
  }
}
assert.ok(arrivals.length > 0 && secrets.length > 0);
console.log(`Node.js: ${arrivals.length} webhooks verify under each of ${secrets.length} secrets`);
