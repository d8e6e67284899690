// The vectors by Node.js' own libraries.   node vectors.js DIRECTORY
const assert = require('node:assert/strict');
const { createHash, createHmac } = require('node:crypto');
const fs = require('node:fs');

const [directory] = process.argv.slice(2);
const vectors = fs.readdirSync(directory).flatMap((name) => JSON.parse(fs.readFileSync(`${directory}/${name}`, 'utf8')));
for (const { about, secret, payload, payload_hex: hex, signature, body, deduplication_id: dedup } of vectors) {
  assert.equal(Buffer.from(payload).toString('hex'), hex, about);
  // Node.js takes no empty key as text, but as bytes.
  assert.equal(createHmac('sha256', Buffer.from(secret)).update(payload).digest('hex'), signature, about);
  assert.equal(createHash('sha256').update(body).digest('hex'), dedup, about);
}
assert.ok(vectors.length >= 19);
console.log(`Node.js: ${vectors.length} vectors ok`);
