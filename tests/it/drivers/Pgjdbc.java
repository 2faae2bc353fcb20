// What a program does with pgjdbc, as facts to read: PORT ROOT CERTIFICATE KEY, the key as PKCS #8 in DER.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.HexFormat;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Pgjdbc {
    private static String port, root, certificate, key;

    public static void main(String[] arguments) throws Exception {
        port = arguments[0];
        root = arguments[1];
        certificate = arguments[2];
        key = arguments[3];
        try (Connection connection = connect("alice", true)) {
            say("user", first(connection, "select session_user"));
            parameters(connection);
            big(connection);
            copy(connection);
            cancel(connection);
            say("after", first(connection, "select 1"));
        }
        refusal("wrong_role", "bob", true);
        refusal("no_certificate", "alice", false);
    }

    private static Connection connect(String user, boolean withCertificate) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", root);
        if (withCertificate) {
            properties.setProperty("sslcert", certificate);
            properties.setProperty("sslkey", key);
        }
        return DriverManager.getConnection("jdbc:postgresql://localhost:" + port + "/postgres", properties);
    }

    private static void parameters(Connection connection) throws SQLException {
        String sql = "select ?::text, length(?::text), ?::bigint + 1, ?::text is null";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setString(1, "it's \"Grüße\", 世界 🐘");
            statement.setString(2, "it's \"Grüße\", 世界 🐘");
            statement.setInt(3, 2147483647);
            statement.setNull(4, Types.VARCHAR);
            ResultSet row = statement.executeQuery();
            row.next();
            say("parameters", row.getString(1) + " " + row.getInt(2) + " " + row.getLong(3) + " " + row.getBoolean(4));
        }
    }

    private static void big(Connection connection) throws Exception {
        long rows = 0, size = 0;
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        // Only in a transaction does pgjdbc fetch by portions.
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(1000);
            ResultSet row = statement.executeQuery("select i, repeat(lpad(i::text, 8, '0'), 128) from generate_series(1, 51200) i");
            while (row.next()) {
                String value = row.getString(2);
                rows += 1;
                size += value.length();
                digest.update(value.getBytes(StandardCharsets.UTF_8));
            }
        }
        connection.setAutoCommit(true);
        say("big", rows + " " + size + " " + hex(digest.digest()));
    }

    private static void copy(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temporary table copied (id int, text text)");
        }
        StringBuilder lines = new StringBuilder();
        for (int i = 1; i <= 100000; i++) {
            lines.append(i).append("\tnumber ").append(i).append('\n');
        }
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        copy.copyIn("copy copied from stdin", new ByteArrayInputStream(lines.toString().getBytes(StandardCharsets.UTF_8)));
        say("copy_in", first(connection, "select count(*) || ' ' || sum(id) from copied"));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        copy.copyOut("copy copied to stdout", out);
        say("copy_out", hex(MessageDigest.getInstance("SHA-256").digest(out.toByteArray())));
    }

    private static void cancel(Connection connection) throws Exception {
        int pid = connection.unwrap(PGConnection.class).getBackendPID();
        try (Statement sleeping = connection.createStatement(); Connection watcher = connect("alice", true)) {
            CompletableFuture<String> outcome = CompletableFuture.supplyAsync(() -> {
                try {
                    sleeping.execute("select pg_sleep(30)");
                    return "slept";
                } catch (SQLException error) {
                    return error.getSQLState();
                }
            });
            String asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and pid = " + pid;
            while (!first(watcher, asleep).equals("1")) {
                Thread.onSpinWait();
            }
            long asked = System.nanoTime();
            sleeping.cancel();
            say("cancel", outcome.get());
            say("cancel_ms", String.valueOf((System.nanoTime() - asked) / 1_000_000));
        }
    }

    private static void refusal(String name, String user, boolean withCertificate) {
        try (Connection connection = connect(user, withCertificate)) {
            say(name, "logged in");
        } catch (SQLException error) {
            say(name, error.getSQLState() + " " + error.getMessage());
        }
    }

    private static String first(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            ResultSet row = statement.executeQuery(sql);
            row.next();
            return row.getString(1);
        }
    }

    private static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    private static void say(String name, String fact) throws RuntimeException {
        byte[] line = (name + "=" + fact + "\n").getBytes(StandardCharsets.UTF_8);
        // Not println: it would write in the encoding of the environment.
        System.out.write(line, 0, line.length);
        System.out.flush();
    }
}
