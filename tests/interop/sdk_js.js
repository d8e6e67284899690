// The local queue through the JavaScript SDKs, v3 and v2 (JSON and query protocol).   node sdk_js.js ENDPOINT
const assert = require('node:assert');
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
const endpoint = process.argv[2];
const options = { endpoint, region: 'us-east-1', credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };

function v3() {
  const { SQS } = require('@aws-sdk/client-sqs');
  return new SQS(options);
}

function v2(name) {
  const AWS = require(name);
  const sqs = new AWS.SQS({ ...options, accessKeyId: 'local', secretAccessKey: 'local' });
  return new Proxy(sqs, { get: (target, call) => (parameters) => target[call](parameters).promise() });
}

async function check(label, sqs) {
  const QueueName = `js-${label}-${Date.now()}.fifo`;
  const { QueueUrl } = await sqs.createQueue({ QueueName, Attributes: { FifoQueue: 'true' } });
  const MessageAttributes = { a: { DataType: 'String', StringValue: 'é 😀 <&>' } };
  const sent = { QueueUrl, MessageBody: 'one \r\n <&>', MessageGroupId: 'g', MessageDeduplicationId: '1', MessageAttributes };
  const first = await sqs.sendMessage(sent);
  assert.equal((await sqs.sendMessage(sent)).MessageId, first.MessageId);
  const Entries = [0, 1, 2].map((n) => (
    { Id: `${n}`, MessageBody: `${n}`, MessageGroupId: 'g', MessageDeduplicationId: `b${n}` }));
  assert.equal((await sqs.sendMessageBatch({ QueueUrl, Entries })).Successful.length, 3);
  const { Messages } = await sqs.receiveMessage(
    { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: ['All'], AttributeNames: ['All'] });
  assert.deepEqual(Messages.map((message) => message.Body), ['one \r\n <&>', '0', '1', '2']);
  assert.equal(Messages[0].MessageAttributes.a.StringValue, 'é 😀 <&>');
  assert.equal(Messages[0].Attributes.MessageGroupId, 'g');
  await sqs.changeMessageVisibility({ QueueUrl, ReceiptHandle: Messages[3].ReceiptHandle, VisibilityTimeout: 0 });
  const handles = [...Messages.slice(0, 3).map((message) => message.ReceiptHandle), 'nonsense'];
  const deleted = await sqs.deleteMessageBatch(
    { QueueUrl, Entries: handles.map((ReceiptHandle, n) => ({ Id: `${n}`, ReceiptHandle })) });
  assert.equal(deleted.Successful.length, 3);
  assert.equal(deleted.Failed[0].Code, 'ReceiptHandleIsInvalid');
  await sqs.deleteQueue({ QueueUrl });
  await assert.rejects(sqs.receiveMessage({ QueueUrl }), (error) =>
    /QueueDoesNotExist|NonExistentQueue/.test(`${error.name} ${error.code}`));
  console.log(`JavaScript SDK ${label} ok`);
}

(async () => {
  await check('v3', v3());
  await check('v2-json', v2('aws-sdk-json'));
  await check('v2-query', v2('aws-sdk-query'));
})().catch((error) => { console.error(error); process.exit(1); });
