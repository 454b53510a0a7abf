<?php
// Counts its answers, after a name that it gives itself when it starts.
$name = bin2hex(random_bytes(8));
$n = 0;
$listen = stream_socket_server('tcp://0.0.0.0:8000', $code, $text, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, stream_context_create(['socket' => ['backlog' => 64]]));
$clients = $asked = [];
while (true) {
    $ready = [$listen, ...array_values($clients)];
    $none = null;
    stream_select($ready, $none, $none, null);
    foreach ($ready as $socket) {
        if ($socket === $listen) {
            $new = stream_socket_accept($listen);
            $clients[(int) $new] = $new;
            $asked[(int) $new] = '';
            continue;
        }
        $id = (int) $socket;
        $data = fread($socket, 8192);
        if ($data === '' || $data === false) {
            fclose($socket);
            unset($clients[$id], $asked[$id]);
            continue;
        }
        $asked[$id] .= $data;
        while (($end = strpos($asked[$id], "\r\n\r\n")) !== false) {
            $asked[$id] = substr($asked[$id], $end + 4);
            $body = "$name " . ++$n . "\n";
            fwrite($socket, "HTTP/1.1 200 OK\r\nContent-Length: " . strlen($body) . "\r\n\r\n$body");
        }
    }
}
