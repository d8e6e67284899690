// Enqueues webhook jobs with the AWS SDK for JavaScript, in order.   node produce.js QUEUE_URL [ENDPOINT]
const { createHash, createHmac } = require('node:crypto');
const { SQS } = require('@aws-sdk/client-sqs');

const [QueueUrl, endpoint] = process.argv.slice(2);
const { DEFAULT_APP_ID: appId = 'app-id', DEFAULT_APP_KEY: appKey = 'app-key', DEFAULT_APP_SECRET: secret = 'app-secret' } = process.env;
const sqs = new SQS({ endpoint, region: process.env.AWS_REGION ?? 'us-east-1' });

async function enqueue(event, MessageGroupId) {
  // JSON.stringify gives the same text for the payload alone and inside the body: what is signed is what is sent.
  const payload = { time_ms: Date.now(), events: [event] };
  const originalPusherSignature = createHmac('sha256', secret).update(JSON.stringify(payload)).digest('hex');
  const MessageBody = JSON.stringify({ appKey, appId, payload, originalPusherSignature });
  const MessageDeduplicationId = createHash('sha256').update(MessageBody).digest('hex');
  // Waiting for the answer before the next send of the group keeps the order.
  await sqs.sendMessage({ QueueUrl, MessageBody, MessageGroupId, MessageDeduplicationId });
}

(async () => {
  for (let n = 0; n < 3; n += 1) {
    await enqueue({ name: 'member_added', channel: 'presence-lobby', user_id: `é${n} 😀 \ud800` }, `${appId}_member_added_webhooks`);
  }
  await enqueue({ name: 'order.paid', order: '7', total: '12.50' }, `${appId}_order-7`);
})().catch((error) => { console.error(error); process.exit(1); });
