package peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.Map;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.core.model.GlobalLockConfig;
import org.apache.seata.rm.GlobalLockExecutor;
import org.apache.seata.rm.GlobalLockTemplate;
import org.apache.seata.rm.RMClient;
import org.apache.seata.rm.datasource.DataSourceProxy;
import org.apache.seata.tm.TMClient;
import org.apache.seata.tm.api.GlobalTransaction;
import org.apache.seata.tm.api.GlobalTransactionContext;

/** One application with its database: launcher of global transactions, and resource manager in AT mode. */
final class Client {
    private static final String GROUP = "peer_tx_group";

    private HikariDataSource pool;
    private DataSourceProxy proxy;
    private GlobalTransaction transaction;
    /** The local transaction that is open, or null. */
    private Connection connection;
    private boolean autocommit;

    /**
     * {@code tc} host:port of the coordinator, {@code url} of JDBC, {@code user}, {@code password}; {@code application}
     * names this client to the coordinator; {@code pool} is the number of connections, which are opened with {@code
     * poolAutocommit}; {@code options} are settings of the client under their full names.
     */
    void connect(JsonNode step) {
        if (proxy != null) {
            throw new IllegalStateException("already connected");
        }
        System.setProperty("service.vgroupMapping." + GROUP, "default");
        System.setProperty("service.default.grouplist", step.required("tc").asText());
        for (Map.Entry<String, JsonNode> option : step.path("options").properties()) {
            System.setProperty(option.getKey(), option.getValue().asText());
        }
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(step.required("url").asText());
        config.setUsername(step.path("user").asText("root"));
        config.setPassword(step.path("password").asText(""));
        config.setMaximumPoolSize(step.path("pool").asInt(8));
        // A load of explicit transactions must not pay for switching it off and on again each time.
        config.setAutoCommit(step.path("poolAutocommit").asBoolean(true));
        pool = new HikariDataSource(config);
        String application = step.path("application").asText("java-peer");
        TMClient.init(application, GROUP);
        RMClient.init(application, GROUP);
        proxy = new DataSourceProxy(pool);
    }

    HikariDataSource pool() {
        return pool;
    }

    DataSourceProxy proxy() {
        if (proxy == null) {
            throw new IllegalStateException("connect first");
        }
        return proxy;
    }

    String begin(int timeoutMs, String name) throws Exception {
        transaction = GlobalTransactionContext.createNew();
        transaction.begin(timeoutMs, name);
        return transaction.getXid();
    }

    void bind(String xid) {
        RootContext.bind(xid);
    }

    void unbind() {
        RootContext.unbind();
    }

    String commit() throws Exception {
        transaction.commit();
        return transaction.getLocalStatus().name();
    }

    String rollback() throws Exception {
        transaction.rollback();
        return transaction.getLocalStatus().name();
    }

    /** Of local transactions that open from now on. Off at first. */
    void autocommit(boolean on) {
        autocommit = on;
    }

    void execute(JsonNode step, ObjectNode answer) throws Exception {
        if (connection == null) {
            connection = proxy().getConnection();
            connection.setAutoCommit(autocommit);
        }
        Sql.execute(connection, step, answer);
        if (autocommit) {
            close();
        }
    }

    void commitLocal() throws SQLException {
        opened().commit();
        close();
    }

    void rollbackLocal() throws SQLException {
        opened().rollback();
        close();
    }

    private Connection opened() {
        if (connection == null) {
            throw new IllegalStateException("no local transaction is open");
        }
        return connection;
    }

    private void close() throws SQLException {
        Connection done = connection;
        connection = null;
        done.setAutoCommit(true); // the pool resets the connection, not the proxy's own note of it
        done.close();
    }

    /** One statement outside every global transaction that waits for global locks ({@code @GlobalLock}). */
    void globalLock(JsonNode step, ObjectNode answer) throws Throwable {
        GlobalLockConfig config = new GlobalLockConfig();
        config.setLockRetryInterval(step.path("retryIntervalMs").asInt(10));
        config.setLockRetryTimes(step.path("retryTimes").asInt(3));
        new GlobalLockTemplate().execute(new GlobalLockExecutor() {
            @Override
            public Object execute() throws Throwable {
                try (Connection own = proxy().getConnection()) {
                    own.setAutoCommit(step.path("autocommit").asBoolean(true));
                    Sql.execute(own, step, answer);
                    if (!own.getAutoCommit()) {
                        own.commit();
                    }
                }
                return null;
            }

            @Override
            public GlobalLockConfig getGlobalLockConfig() {
                return config;
            }
        });
    }

    /** One statement of which Seata learns nothing. */
    void plain(JsonNode step, ObjectNode answer) throws Exception {
        try (Connection own = pool.getConnection()) {
            Sql.execute(own, step, answer);
        }
    }
}
