/* The probe of a libc: getaddrinfo, and res_query for SRV. Built by cc and by musl-gcc. run.py describes probes. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static void print_error(const char *class, const char *text)
{
    printf("{\"error\": \"%s\", \"text\": \"%s\"}\n", class, text);
}

static void addresses(int family, const char *name)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found;
    int code = getaddrinfo(name, NULL, &hints, &found);
    if (code != 0) {
        print_error(code == EAI_NONAME   ? "no-such-name"
                    : code == EAI_NODATA ? "no-data"
                    : code == EAI_AGAIN  ? "try-again"
                                         : "failure",
                    gai_strerror(code));
        return;
    }
    const char *between = "[";
    for (struct addrinfo *each = found; each; each = each->ai_next) {
        char text[INET6_ADDRSTRLEN];
        const void *address = each->ai_family == AF_INET
                                  ? (const void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr
                                  : (const void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;
        inet_ntop(each->ai_family, address, text, sizeof text);
        printf("%s\"%s\"", between, text);
        between = ", ";
    }
    puts("]");
    freeaddrinfo(found);
}

static void services(const char *name)
{
    unsigned char message[NS_MAXMSG];
    int length = res_query(name, ns_c_in, ns_t_srv, message, sizeof message);
    ns_msg parsed;
    /* Before 1.2.4, musl returns NODATA and NXDOMAIN as successful answers. */
    if (length < 0 && (h_errno == HOST_NOT_FOUND || h_errno == NO_DATA)) {
        print_error(h_errno == NO_DATA ? "no-data" : "no-such-name", "res_query");
    } else if (length < 0) {
        print_error(h_errno == TRY_AGAIN ? "try-again" : "failure", "res_query");
    } else if (ns_initparse(message, length, &parsed) < 0) {
        print_error("failure", "ns_initparse");
    } else if (ns_msg_getflag(parsed, ns_f_rcode) == ns_r_nxdomain) {
        print_error("no-such-name", "NXDOMAIN");
    } else if (ns_msg_count(parsed, ns_s_an) == 0) {
        print_error("no-data", "no records");
    } else {
        const char *between = "[";
        for (int number = 0; number < ns_msg_count(parsed, ns_s_an); number++) {
            ns_rr record;
            char target[NS_MAXDNAME];
            if (ns_parserr(&parsed, ns_s_an, number, &record) < 0 || ns_rr_type(record) != ns_t_srv)
                continue;
            const unsigned char *data = ns_rr_rdata(record);
            if (dn_expand(message, message + length, data + 6, target, sizeof target) < 0)
                continue;
            printf("%s[%u, %u, %u, \"%s\"]", between, ns_get16(data), ns_get16(data + 2), ns_get16(data + 4), target);
            between = ", ";
        }
        puts(strcmp(between, "[") == 0 ? "[]" : "]");
    }
}

int main(void)
{
    char kind[16], name[512];
    while (scanf("%15s %511s", kind, name) == 2) {
        if (strcmp(kind, "SRV") == 0)
            services(name);
        else
            addresses(strcmp(kind, "A") == 0 ? AF_INET : strcmp(kind, "AAAA") == 0 ? AF_INET6 : AF_UNSPEC, name);
        fflush(stdout);
    }
    return 0;
}
