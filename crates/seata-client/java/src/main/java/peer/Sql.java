package peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Types;
import java.util.HexFormat;

/** Statements and rows as JSON. */
final class Sql {
    private Sql() {}

    /**
     * {@code sql} with {@code args}: null, numbers, texts, truth values, and {@code {"hex":"..."}} for bytes. Answers
     * {@code {"updated":n}}, or {@code {"rows":[{column:value}]}} with bytes in hex and every other value as text.
     */
    static void execute(Connection connection, JsonNode step, ObjectNode answer) throws Exception {
        String sql = step.required("sql").asText();
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            int index = 0;
            for (JsonNode argument : step.path("args")) {
                statement.setObject(++index, argument(argument));
            }
            if (!statement.execute()) {
                answer.put("updated", statement.getUpdateCount());
                return;
            }
            try (ResultSet rows = statement.getResultSet()) {
                read(rows, answer.putArray("rows"));
            }
        }
    }

    private static Object argument(JsonNode argument) {
        if (argument.isNull()) {
            return null;
        }
        if (argument.isBoolean()) {
            return argument.booleanValue();
        }
        if (argument.isNumber()) {
            return argument.numberValue();
        }
        if (argument.isTextual()) {
            return argument.textValue();
        }
        return HexFormat.of().parseHex(argument.required("hex").asText());
    }

    private static void read(ResultSet rows, ArrayNode answer) throws SQLException {
        ResultSetMetaData columns = rows.getMetaData();
        while (rows.next()) {
            ObjectNode row = answer.addObject();
            for (int column = 1; column <= columns.getColumnCount(); column++) {
                row.put(columns.getColumnLabel(column), value(rows, column, columns.getColumnType(column)));
            }
        }
    }

    private static String value(ResultSet rows, int column, int type) throws SQLException {
        switch (type) {
            case Types.BIT, Types.BINARY, Types.VARBINARY, Types.LONGVARBINARY, Types.BLOB -> {
                byte[] bytes = rows.getBytes(column);
                return bytes == null ? null : HexFormat.of().formatHex(bytes);
            }
            default -> {
                return rows.getString(column);
            }
        }
    }
}
