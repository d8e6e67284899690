// Real Pusher clients against a running soketi: two members meet on a presence channel, chat on a
// private one, miss a cache channel's event and leave, so that soketi emits all six kinds of webhook.
// Started by check.js, which tells how many client events the queue has, and is told how many webhooks
// of each kind this makes.   drive.js PORT MESSAGES
const PusherClient = require('pusher-js');
const PusherBackend = require('pusher');

const [port, messages] = process.argv.slice(2).map(Number);
const backend = new PusherBackend({ appId: 'app-id', key: 'app-key', secret: 'app-secret', host: '127.0.0.1', port });

const on = (emitter, event) => new Promise((resolve) => { emitter.bind(event, resolve); });

async function connect(userId) {
  const client = new PusherClient('app-key', {
    wsHost: '127.0.0.1', wsPort: port, forceTLS: false, disableStats: true, enabledTransports: ['ws'], cluster: 'none',
    authorizer: (channel) => ({
      authorize: (socketId, callback) => callback(null, channel.name.startsWith('presence-')
        ? backend.authorizeChannel(socketId, channel.name, { user_id: userId, user_info: { name: `user ${userId}` } })
        : backend.authorizeChannel(socketId, channel.name)),
    }),
  });
  await on(client.connection, 'connected');
  return client;
}

async function subscribe(client, name) {
  const channel = client.subscribe(name);
  channel.bind('pusher:subscription_error', (error) => { throw new Error(`${name}: ${JSON.stringify(error)}`); });
  await on(channel, 'pusher:subscription_succeeded');
  return channel;
}

let said = 0;
let enqueued = 0;
let onEnqueued = () => {};
process.on('message', (count) => {
  enqueued = count;
  onEnqueued();
});

// Says something, and waits until the other member has heard it.
async function say(from, to, event, data) {
  said += 1;
  const heard = on(to, event);
  if (!from.trigger(event, data)) throw new Error(`${event} was not sent`);
  await heard;
  to.unbind(event);
}

// soketi does not send one job after the other: what has to stay in order is said when the one before
// is in the queue.
async function untilEnqueued() {
  while (enqueued < said) await new Promise((resolve) => { onEnqueued = resolve; });
}

(async () => {
  const alice = await connect('1');
  const bob = await connect('2');
  const lobby = await subscribe(alice, 'presence-lobby');
  const bobsLobby = await subscribe(bob, 'presence-lobby');
  const chat = await subscribe(alice, 'private-chat');
  const bobsChat = await subscribe(bob, 'private-chat');
  const news = alice.subscribe('cache-news');
  await on(news, 'pusher:cache_miss');
  for (let n = 0; n < messages; n++) {
    const data = { n, text: '\u2028 é 😀 </script>', big: 1.5e21, nested: { b: 1, a: [null, true] } };
    await say(chat, bobsChat, 'client-greeting', data);
    await untilEnqueued();
  }
  for (let n = 0; n < messages; n++) await say(chat, bobsChat, 'client-babble', { n });
  await say(bobsChat, chat, 'client-raw', 'just a string');
  await say(lobby, bobsLobby, 'client-typing', { typing: true });
  const left = on(lobby, 'pusher:member_removed');
  bob.unsubscribe('presence-lobby');
  await left;
  const gone = [on(alice.connection, 'disconnected'), on(bob.connection, 'disconnected')];
  alice.disconnect();
  bob.disconnect();
  await Promise.all(gone);
  process.send({
    client_event: said,
    channel_occupied: 3,
    channel_vacated: 3,
    member_added: 2,
    member_removed: 2,
    cache_miss: 1,
  }, () => process.exit(0));
})();
