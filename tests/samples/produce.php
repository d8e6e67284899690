<?php
// Enqueues webhook jobs with curl, which signs for AWS itself (7.75 or later).   php produce.php QUEUE_URL
declare(strict_types=1);

$url = $argv[1];
[$appId, $appKey, $secret] = array_map(
    fn (string $part) => getenv("DEFAULT_APP_$part") ?: 'app-' . strtolower($part), ['ID', 'KEY', 'SECRET']);

function enqueue(array $event, string $group): void
{
    global $url, $appId, $appKey, $secret;
    $flags = JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE;
    // Serialised once: these bytes are signed, and these bytes are sent.
    $payload = json_encode(['time_ms' => (int) (microtime(true) * 1000), 'events' => [$event]], $flags);
    $head = substr(json_encode(['appKey' => $appKey, 'appId' => $appId], $flags), 0, -1);
    $body = $head . ',"payload":' . $payload . ',"originalPusherSignature":"' . hash_hmac('sha256', $payload, $secret) . '"}';
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_AWS_SIGV4 => 'aws:amz:' . (getenv('AWS_REGION') ?: 'us-east-1') . ':sqs',
        CURLOPT_USERPWD => getenv('AWS_ACCESS_KEY_ID') . ':' . getenv('AWS_SECRET_ACCESS_KEY'),
        CURLOPT_POSTFIELDS => http_build_query(['Action' => 'SendMessage', 'Version' => '2012-11-05', 'MessageBody' => $body,
            'MessageGroupId' => $group, 'MessageDeduplicationId' => hash('sha256', $body)]),
        CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 10]);
    // Waiting for the answer before the next send of the group keeps the order.
    $answer = curl_exec($curl);
    if (curl_getinfo($curl, CURLINFO_RESPONSE_CODE) !== 200) {
        throw new RuntimeException('the queue did not take it: ' . curl_error($curl) . $answer);
    }
}

foreach ([0, 1, 2] as $n) {
    enqueue(['name' => 'member_added', 'channel' => 'presence-lobby', 'user_id' => "é$n 😀"], "{$appId}_member_added_webhooks");
}
enqueue(['name' => 'order.paid', 'order' => '7', 'total' => '12.50'], "{$appId}_order-7");
