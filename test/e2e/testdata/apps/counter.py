"""Counts its answers, after a name that it gives itself when it starts."""
import http.server
import secrets
import threading

name, n, lock = secrets.token_hex(8), 0, threading.Lock()


class Counter(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body

    def do_GET(self):
        global n
        with lock:
            n += 1
            body = f"{name} {n}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64


Server(("", 8000), Counter).serve_forever()
