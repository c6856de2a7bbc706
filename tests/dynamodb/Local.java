import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBRequestHandler;
import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBServerHandler;
import java.net.InetSocketAddress;
import org.eclipse.jetty.server.NetworkConnector;
import org.eclipse.jetty.server.Server;

/**
 * DynamoDB Local in memory, until standard input ends. Its own main class listens on every interface
 * and has to be told a port; this one listens on the loopback, and says on which port.
 */
class Local {
    private static final int ANY_PORT = 0;
    private static final boolean IN_MEMORY = true;
    private static final String NO_FILE = null;
    private static final boolean ONE_DATABASE_FOR_ALL = true;
    private static final boolean SLOW_STATUS_CHANGES = false;
    private static final String NO_CORS = null;

    public static void main(String[] arguments) throws Exception {
        var handler = new LocalDynamoDBRequestHandler(
            ANY_PORT, IN_MEMORY, NO_FILE, ONE_DATABASE_FOR_ALL, SLOW_STATUS_CHANGES);
        var server = new Server(new InetSocketAddress("127.0.0.1", ANY_PORT));
        server.setHandler(new LocalDynamoDBServerHandler(handler, NO_CORS));
        server.start();
        int port = ((NetworkConnector) server.getConnectors()[0]).getLocalPort();
        System.out.println("http://127.0.0.1:" + port);
        while (System.in.read() != -1) {}
        System.exit(0);
    }
}
