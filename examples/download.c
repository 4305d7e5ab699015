/* Downloads one file of a repository, and prints where it is: download REPO FILE */
#include <stdio.h>

#include <xet.h>

static int fail(XetError *error) {
    fprintf(stderr, "%s\n", error->message);
    xet_free_error(error);
    return 1;
}

static void progress(const XetProgress *now, void *user_data) {
    (void)user_data;
    fprintf(stderr, "\r%llu of %llu bytes", (unsigned long long)now->bytes_completed,
            (unsigned long long)now->bytes_total);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s REPO FILE\n", argv[0]);
        return 2;
    }
    XetClientOptions settings = XET_INIT(XetClientOptions); /* HF_TOKEN, HF_HOME, ... as ever */
    XetClient *client = NULL;
    XetError *error = xet_client_create(&settings, &client);
    if (error != NULL) {
        return fail(error);
    }
    XetDownloadOptions what = XET_INIT(XetDownloadOptions);
    what.repo_id = argv[1];
    what.filename = argv[2];
    XetCallbacks callbacks = XET_INIT(XetCallbacks);
    callbacks.progress = progress;
    XetTransfer *transfer = NULL;
    error = xet_client_download(client, &what, &callbacks, &transfer);
    xet_client_free(client);
    if (error != NULL) {
        return fail(error);
    }
    fprintf(stderr, "\n");
    puts(transfer->path);
    xet_transfer_free(transfer);
    return 0;
}
