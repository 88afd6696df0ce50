package peer;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Seata's Java client, stepped from outside: one JSON object a line on standard input, one JSON object a line in answer
 * on standard output. {@code {"op":"begin"}} gives {@code {"xid":"..."}}; a step that fails gives
 * {@code {"error":"...","causes":["Class: message", ...]}} and the peer goes on. The whole list is {@link #step}.
 *
 * <p>All steps run on one thread, as Seata binds a transaction to its thread; the second phase of branches is answered
 * all the while by the client's own threads. The program ends with its standard input.
 */
public final class Peer {
    static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);
    private final Client client = new Client();

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        // Whatever a library prints must not look like an answer.
        System.setOut(System.err);
        Peer peer = new Peer();
        BufferedReader steps = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = steps.readLine(); line != null; line = steps.readLine()) {
            byte[] answer = peer.answer(line).toString().getBytes(StandardCharsets.UTF_8);
            answers.write(answer);
            answers.write('\n');
            answers.flush();
        }
        // The client's threads are not daemons. Its shutdown hook says goodbye to the coordinator.
        System.exit(0);
    }

    private ObjectNode answer(String line) {
        try {
            return step(JSON.readTree(line));
        } catch (Throwable error) {
            ObjectNode answer = JSON.createObjectNode().put("error", String.valueOf(error.getMessage()));
            ArrayNode causes = answer.putArray("causes");
            for (Throwable cause = error; cause != null && causes.size() < 10; cause = cause.getCause()) {
                causes.add(cause.getClass().getSimpleName() + ": " + cause.getMessage());
            }
            return answer;
        }
    }

    private ObjectNode step(JsonNode step) throws Throwable {
        ObjectNode answer = JSON.createObjectNode();
        String op = step.path("op").asText();
        switch (op) {
            case "connect" -> client.connect(step);
            case "begin" -> answer.put("xid", client.begin(step.path("timeoutMs").asInt(60_000), "peer"));
            case "bind" -> client.bind(step.required("xid").asText());
            case "unbind" -> client.unbind();
            case "commit" -> answer.put("status", client.commit());
            case "rollback" -> answer.put("status", client.rollback());
            case "autocommit" -> client.autocommit(step.required("on").asBoolean());
            case "execute" -> client.execute(step, answer);
            case "globalLock" -> client.globalLock(step, answer);
            case "commitLocal" -> client.commitLocal();
            case "rollbackLocal" -> client.rollbackLocal();
            case "plain" -> client.plain(step, answer);
            case "bench" -> Bench.run(client, step, answer);
            default -> throw new IllegalArgumentException("no step is called \"" + op + "\"");
        }
        return answer;
    }
}
