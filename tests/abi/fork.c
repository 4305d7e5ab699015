/*
 * A child process uses a client that it inherited, while the parent is inside a call on it. Apart from
 * threads.c, because the child gives the parent's connections up without touching them, which a leak
 * checker that follows it would report.
 *
 *   fork CACHE_DIR
 *
 * Prints each promise that is broken; exits with 1 if one was.
 */
#include "stuck.h"

#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
/* AddressSanitizer's allocator isn't whole in a child that is forked while another thread is inside it. Waits
 * until the parent's request has come: from then on it only waits. Returns the connection. */
static int await_quiet(int server) {
    char byte;
    int peer = accept(server, NULL, NULL);
    require(peer >= 0, "accept");
    require(recv(peer, &byte, 1, 0) == 1, "recv");
    return peer;
}
#endif

static void use_a_client_in_a_child(const char *endpoint, int server, const char *cache_dir) {
    static Stuck stuck;
    pthread_t thread;
    static Sink sink = {.registered = true};
    stuck.client = new_client(endpoint, cache_dir);
    set_log_callback(&sink);
    require(pthread_create(&thread, NULL, call_and_hang, &stuck) == 0, "pthread_create");
    while (!atomic_load(&stuck.inside)) {
        sched_yield();
    }
#ifdef __SANITIZE_ADDRESS__
    int peer = await_quiet(server);
#else
    (void)server;
#endif
    fflush(stdout);
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        Stuck own = {.client = stuck.client, .leave = true};
        call_and_hang(&own);
        set_log_callback(NULL);
        xet_client_free(stuck.client);
        fflush(stdout);
        _exit(own.code == XET_CODE_CANCELLED && atomic_load(&broken) == 0 ? 0 : 1);
    }
    int status = 0;
    require(waitpid(child, &status, 0) == child, "waitpid");
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child may use a client it inherited");
    atomic_store(&stuck.leave, true);
    require(pthread_join(thread, NULL) == 0, "pthread_join");
    check(stuck.code == XET_CODE_CANCELLED, "a fork doesn't disturb the parent's calls");
    set_log_callback(NULL);
    xet_client_free(stuck.client);
#ifdef __SANITIZE_ADDRESS__
    close(peer);
#endif
}

int main(int count, char **arguments) {
    if (count != 2) {
        fputs("usage: fork CACHE_DIR\n", stderr);
        return 2;
    }
    char endpoint[64];
    int server = silent_server(endpoint, sizeof endpoint);
    use_a_client_in_a_child(endpoint, server, arguments[1]);
    close(server);
    printf("%u promises broken\n", atomic_load(&broken));
    return atomic_load(&broken) == 0 ? 0 : 1;
}
