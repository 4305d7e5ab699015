"""Downloads one file of a repository, and prints where it is: download.py REPO FILE."""

import sys

from xet_ffi import Client, Progress, XetError


def show(now: Progress) -> None:
    """Says how far it is."""
    print(f"\r{now.bytes_completed} of {now.bytes_total} bytes", end="", file=sys.stderr)


def main() -> int:
    """Downloads what the command line names."""
    if len(sys.argv) != 3:
        print(f"usage: {sys.argv[0]} REPO FILE", file=sys.stderr)
        return 2
    _, repo, name = sys.argv
    try:
        with Client() as client:  # HF_TOKEN, HF_HOME, ... as ever
            transfer = client.download_file(repo, name, progress=show)
    except XetError as error:
        print(error, file=sys.stderr)
        return 1
    print(file=sys.stderr)
    print(transfer.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
