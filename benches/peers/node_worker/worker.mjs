// A plain worker: each consumer receives ten messages, posts their payloads one after the other and
// deletes them together.   node worker.mjs QUEUE_URL ENDPOINT SINK CONSUMERS
import { SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";
import { Pool } from "undici";

const [queueUrl, endpoint, sink, consumers] = process.argv.slice(2);
const sqs = new SQSClient({ region: "us-east-1", endpoint });
const pool = new Pool(new URL(sink).origin, { connections: Number(consumers) });

async function post(message) {
  const { payload, appKey, originalPusherSignature } = JSON.parse(message.Body);
  const answer = await pool.request({
    method: "POST",
    path: "/",
    headers: { "content-type": "application/json", "x-pusher-key": appKey, "x-pusher-signature": originalPusherSignature },
    body: JSON.stringify(payload),
  });
  await answer.body.dump();
  if (answer.statusCode >= 300) throw new Error(`status ${answer.statusCode}`);
}

for (let n = 0; n < Number(consumers); n++) {
  const consumer = Consumer.create({
    queueUrl,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 10,
    handleMessageBatch: async (messages) => {
      for (const message of messages) await post(message);
      return messages;
    },
  });
  consumer.on("error", (error) => console.error(error));
  consumer.on("processing_error", (error) => console.error(error));
  consumer.start();
}
