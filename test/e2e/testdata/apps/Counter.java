import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.security.SecureRandom;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/** Counts its answers, after a name that it gives itself when it starts. */
public class Counter {
    public static void main(String[] args) throws Exception {
        String name = String.format("%016x", new SecureRandom().nextLong());
        AtomicLong n = new AtomicLong();
        HttpServer server = HttpServer.create(new InetSocketAddress(8000), 64);
        server.createContext("/", exchange -> {
            byte[] body = (name + " " + n.incrementAndGet() + "\n").getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }
}
