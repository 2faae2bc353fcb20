// Who pgjdbc logs in as: PORT ROOT PASSWORD, then CERTIFICATE KEY ROLE for each login. A key that ends in .p12 is opened by PASSWORD.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.util.Properties;

public class PgjdbcLogins {
    public static void main(String[] arguments) throws Exception {
        for (int at = 3; at + 2 < arguments.length; at += 3) {
            Properties properties = new Properties();
            properties.setProperty("user", arguments[at + 2]);
            properties.setProperty("sslmode", "verify-full");
            properties.setProperty("sslrootcert", arguments[1]);
            properties.setProperty("sslcert", arguments[at]);
            properties.setProperty("sslkey", arguments[at + 1]);
            properties.setProperty("sslpassword", arguments[2]);
            String url = "jdbc:postgresql://localhost:" + arguments[0] + "/postgres";
            try (Connection connection = DriverManager.getConnection(url, properties)) {
                ResultSet row = connection.createStatement().executeQuery("select session_user");
                row.next();
                System.out.println(row.getString(1));
            }
        }
    }
}
