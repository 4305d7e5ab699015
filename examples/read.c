/* Writes a part of a file of a repository to stdout, without a download: read REPO FILE OFFSET LENGTH */
#include <stdio.h>
#include <stdlib.h>

#include <xet.h>

static int fail(XetError *error) {
    fprintf(stderr, "%s\n", error->message);
    xet_free_error(error);
    return 1;
}

/* Nothing but digits, of a number that there is room for. */
static int number(const char *text, uint64_t *value) {
    *value = 0;
    for (const char *digit = text; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9' || *value > (UINT64_MAX - 9) / 10) {
            return 0;
        }
        *value = *value * 10 + (uint64_t)(*digit - '0');
    }
    return *text != '\0';
}

static XetError *copy(XetFile *file, uint64_t offset, uint64_t length) {
    static char buffer[1 << 20];
    size_t filled = sizeof buffer;
    while (length > 0 && filled == sizeof buffer) { /* fewer: the file ends there */
        size_t wanted = length < sizeof buffer ? (size_t)length : sizeof buffer;
        XetError *error = xet_file_read_at(file, offset, buffer, wanted, NULL, NULL, &filled);
        if (error != NULL) {
            return error;
        }
        if (fwrite(buffer, 1, filled, stdout) != filled) {
            perror("stdout");
            exit(1);
        }
        offset += filled;
        length -= filled;
    }
    return NULL;
}

int main(int argc, char **argv) {
    uint64_t offset = 0, length = 0;
    if (argc != 5 || !number(argv[3], &offset) || !number(argv[4], &length)) {
        fprintf(stderr, "usage: %s REPO FILE OFFSET LENGTH\n", argv[0]);
        return 2;
    }
    XetClientOptions settings = XET_INIT(XetClientOptions); /* HF_TOKEN, HF_HOME, ... as ever */
    XetClient *client = NULL;
    XetError *error = xet_client_create(&settings, &client);
    if (error != NULL) {
        return fail(error);
    }
    XetOpenOptions what = XET_INIT(XetOpenOptions);
    what.repo_id = argv[1];
    what.filename = argv[2];
    XetFile *file = NULL;
    error = xet_client_open(client, &what, NULL, &file);
    xet_client_free(client); /* the file has what it needs of it */
    if (error != NULL) {
        return fail(error);
    }
    XetFileReport *report = NULL;
    error = copy(file, offset, length);
    if (error == NULL) {
        error = xet_file_report(file, &report);
    }
    xet_file_free(file);
    if (error != NULL) {
        return fail(error);
    }
    fprintf(stderr, "%llu of %llu bytes of %s, commit %s, %llu received, %s\n",
            (unsigned long long)report->bytes_read, (unsigned long long)report->size, report->path,
            report->commit, (unsigned long long)report->bytes_network,
            report->proof == XET_PROOF_NONE ? "unproven" : "proven");
    xet_file_report_free(report);
    return 0;
}
