package peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.sql.DataSource;
import org.apache.seata.tm.api.GlobalTransaction;
import org.apache.seata.tm.api.GlobalTransactionContext;

/**
 * One round of load, so that rounds of several clients can be taken in turns from outside.
 *
 * <p>{@code concurrency} threads, for {@code seconds}, each: begin, {@code branches} local transactions of one update of
 * one of {@code rows} rows each, commit; or with {@code global: false} the local transactions alone. Of a hundred,
 * {@code rollbackPercent} are rolled back. What fails is counted and not tried again.
 */
final class Bench {
    static final String UPDATE = "UPDATE account SET balance = balance + ? WHERE id = ?";

    private final DataSource source;
    private final boolean global;
    private final int branches;
    private final int rows;
    private final int rollbackPercent;
    private final long endNanos;

    private Bench(Client client, JsonNode step) {
        global = step.path("global").asBoolean(true);
        source = global ? client.proxy() : client.pool();
        branches = step.path("branches").asInt(1);
        rows = step.path("rows").asInt(10_000);
        rollbackPercent = step.path("rollbackPercent").asInt(0);
        endNanos = System.nanoTime() + (long) (step.path("seconds").asDouble(5) * 1e9);
    }

    private static final class Tally {
        final List<Long> microseconds = new ArrayList<>();
        int rolledBack;
        int failed;
        String failure;
    }

    static void run(Client client, JsonNode step, ObjectNode answer) throws Exception {
        int concurrency = step.path("concurrency").asInt(8);
        Bench bench = new Bench(client, step);
        double cpuBefore = cpuSeconds();
        long begun = System.nanoTime();
        ExecutorService threads = Executors.newFixedThreadPool(concurrency);
        List<Future<Tally>> running = new ArrayList<>();
        for (int thread = 0; thread < concurrency; thread++) {
            Random random = new Random(step.path("seed").asLong(1) * 1000 + thread);
            running.add(threads.submit(() -> bench.load(random)));
        }
        Tally all = new Tally();
        for (Future<Tally> one : running) {
            Tally tally = one.get();
            all.microseconds.addAll(tally.microseconds);
            all.rolledBack += tally.rolledBack;
            all.failed += tally.failed;
            all.failure = tally.failure == null ? all.failure : tally.failure;
        }
        threads.shutdown();
        double seconds = (System.nanoTime() - begun) / 1e9;
        tell(answer, all, seconds);
        answer.put("cpuSeconds", cpuSeconds() - cpuBefore).put("rssMb", rssMb());
    }

    private static void tell(ObjectNode answer, Tally all, double seconds) {
        long[] sorted = all.microseconds.stream().mapToLong(Long::longValue).toArray();
        Arrays.sort(sorted);
        answer.put("transactions", sorted.length).put("rolledBack", all.rolledBack).put("failed", all.failed);
        answer.put("failure", all.failure).put("seconds", seconds).put("perSecond", sorted.length / seconds);
        answer.put("p50Microseconds", percentile(sorted, 50)).put("p99Microseconds", percentile(sorted, 99));
    }

    private static long percentile(long[] sorted, int percent) {
        return sorted.length == 0 ? 0 : sorted[(sorted.length - 1) * percent / 100];
    }

    private Tally load(Random random) {
        Tally tally = new Tally();
        while (System.nanoTime() < endNanos) {
            long begun = System.nanoTime();
            boolean rollBack = global && random.nextInt(100) < rollbackPercent;
            try {
                one(random, rollBack);
                tally.microseconds.add((System.nanoTime() - begun) / 1000);
                tally.rolledBack += rollBack ? 1 : 0;
            } catch (Exception error) {
                tally.failed++;
                tally.failure = error.toString();
            }
        }
        return tally;
    }

    private void one(Random random, boolean rollBack) throws Exception {
        // Each row once: a branch must not wait for another of its own transaction.
        Set<Integer> ids = new LinkedHashSet<>();
        while (ids.size() < branches) {
            ids.add(1 + random.nextInt(rows));
        }
        if (!global) {
            update(ids);
            return;
        }
        GlobalTransaction transaction = GlobalTransactionContext.createNew();
        transaction.begin(60_000, "bench");
        try {
            update(ids);
        } catch (Exception error) {
            transaction.rollback();
            throw error;
        }
        if (rollBack) {
            transaction.rollback();
        } else {
            transaction.commit();
        }
    }

    private void update(Set<Integer> ids) throws Exception {
        for (int id : ids) {
            try (Connection connection = source.getConnection()) {
                connection.setAutoCommit(false);
                try (PreparedStatement statement = connection.prepareStatement(UPDATE)) {
                    statement.setLong(1, 1);
                    statement.setLong(2, id);
                    statement.executeUpdate();
                    connection.commit();
                } catch (Exception error) {
                    connection.rollback();
                    throw error;
                }
            }
        }
    }

    private static double cpuSeconds() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }

    /** Resident memory, as the kernel counts it. */
    private static double rssMb() throws Exception {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS:")) {
                return Long.parseLong(line.replaceAll("[^0-9]", "")) / 1024.0;
            }
        }
        throw new IllegalStateException("/proc/self/status has no VmRSS");
    }
}
