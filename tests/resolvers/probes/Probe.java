// The probe of Java: `lookup` is InetAddress, which uses the libc; `jndi` is the DNS provider. run.py describes probes.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.security.Security;
import java.util.ArrayList;
import java.util.Hashtable;
import java.util.List;
import javax.naming.CommunicationException;
import javax.naming.Context;
import javax.naming.NameNotFoundException;
import javax.naming.NamingException;
import javax.naming.ServiceUnavailableException;
import javax.naming.directory.Attribute;
import javax.naming.directory.DirContext;
import javax.naming.directory.InitialDirContext;

final class Probe {
    private Probe() {}

    public static void main(String[] arguments) throws Exception {
        // Java caches addresses for 30 seconds and failures for 10, whatever the TTL.
        Security.setProperty("networkaddress.cache.ttl", "0");
        Security.setProperty("networkaddress.cache.negative.ttl", "0");
        DirContext jndi = arguments[0].equals("jndi") ? jndi() : null;
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            System.out.println(jndi == null ? lookup(words[0], words[1]) : records(jndi, words[0], words[1]));
        }
    }

    private static String lookup(String kind, String name) {
        if (kind.equals("SRV")) {
            return error("unsupported", "no call for " + kind);
        }
        try {
            List<String> found = new ArrayList<>();
            // No call queries one family, so a program filters.
            for (InetAddress address : InetAddress.getAllByName(name)) {
                if (kind.equals("ADDRESSES") || kind.equals("A") == address instanceof Inet4Address) {
                    found.add(quoted(address.getHostAddress()));
                }
            }
            return found.toString();
        } catch (UnknownHostException error) {
            String text = error.getMessage();
            return error(
                    text.endsWith(": Name or service not known") ? "no-such-name"
                            : text.endsWith(": No address associated with hostname") ? "no-data"
                            : text.endsWith(": Temporary failure in name resolution") ? "try-again"
                            : "failure",
                    text);
        }
    }

    private static DirContext jndi() throws NamingException {
        var environment = new Hashtable<String, String>();
        environment.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.dns.DnsContextFactory");
        environment.put(Context.PROVIDER_URL, "dns:"); // the servers of resolv.conf
        return new InitialDirContext(environment);
    }

    private static String records(DirContext jndi, String kind, String name) {
        // For two types at once, JNDI would query ANY.
        List<String> types = kind.equals("ADDRESSES") ? List.of("A", "AAAA") : List.of(kind);
        try {
            List<String> found = new ArrayList<>();
            for (String type : types) {
                Attribute values = jndi.getAttributes(name, new String[] {type}).get(type);
                for (int number = 0; values != null && number < values.size(); number++) {
                    String[] data = values.get(number).toString().split(" ");
                    found.add(type.equals("SRV")
                            ? "[" + data[0] + ", " + data[1] + ", " + data[2] + ", " + quoted(data[3]) + "]"
                            : quoted(data[0]));
                }
            }
            return found.isEmpty() ? error("no-data", "no attribute") : found.toString();
        } catch (NameNotFoundException error) {
            return error("no-such-name", error.toString());
        } catch (CommunicationException | ServiceUnavailableException error) {
            return error("try-again", error.toString());
        } catch (NamingException error) {
            return error("failure", error.toString());
        }
    }

    private static String error(String category, String text) {
        return "{\"error\": " + quoted(category) + ", \"text\": " + quoted(text) + "}";
    }

    private static String quoted(String text) {
        return "\"" + text.replaceAll("[\"\\\\\\p{Cntrl}]", " ") + "\"";
    }
}
