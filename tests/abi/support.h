/*
 * What programs share that check promises: counting broken ones, a client, and a server that never answers.
 * Included by one unit per program.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "xet.h"

static atomic_uint broken = 0;

static void check(bool holds, const char *promise) {
    if (!holds) {
        atomic_fetch_add(&broken, 1);
        printf("broken: %s\n", promise);
    }
}

/* For what isn't tested here but must work. */
static void require(bool worked, const char *what) {
    if (!worked) {
        perror(what);
        exit(2);
    }
}

static XetClient *new_client(const char *endpoint, const char *cache_dir) {
    XetClientOptions options = {.struct_size = sizeof options,
                                .endpoint = endpoint,
                                .cache_dir = cache_dir,
                                .flags = XET_CLIENT_ANONYMOUS,
                                .max_attempts = 1};
    XetClient *client = NULL;
    XetError *error = xet_client_create(&options, &client);
    require(error == NULL, "xet_client_create");
    return client;
}

/* A listening socket that accepts connections (the kernel does) and never answers. */
static int silent_server(char *endpoint, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    require(server >= 0, "socket");
    require(bind(server, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    require(listen(server, 64) == 0, "listen");
    require(getsockname(server, (struct sockaddr *)&address, &length) == 0, "getsockname");
    snprintf(endpoint, size, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return server;
}

#endif
