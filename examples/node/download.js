// Downloads one file of a repository, and prints where it is: node download.js REPO FILE
// The library is found by the system, or is the one that XET_LIBRARY names.
'use strict';
const koffi = require('koffi');

const lib = koffi.load(process.env.XET_LIBRARY || 'libxet.so');

koffi.opaque('XetClient');
const XetError = koffi.struct('XetError', { code: 'int32_t', message: 'str', details: 'str' });
const XetDownloadOptions = koffi.struct('XetDownloadOptions', {
  struct_size: 'uint32_t',
  flags: 'uint32_t',
  repo_id: 'str',
  repo_type: 'str',
  revision: 'str',
  filename: 'str',
  local_dir: 'str',
  allow_patterns: 'void *',
  allow_patterns_len: 'size_t',
  ignore_patterns: 'void *',
  ignore_patterns_len: 'size_t',
  timeout_ms: 'uint32_t',
  deadlines: 'void *',
});
// Its beginning: the library says in struct_size how much there is, and what follows isn't needed.
const XetTransfer = koffi.struct('XetTransfer', { struct_size: 'uint32_t', files: 'uint32_t', path: 'str' });

const create = lib.func('XetError *xet_client_create(void *options, _Out_ XetClient **client)');
const download = lib.func(
  'XetError *xet_client_download(XetClient *client, XetDownloadOptions *options, void *callbacks, _Out_ XetTransfer **transfer)'
);
const freeClient = lib.func('void xet_client_free(XetClient *client)');
const freeTransfer = lib.func('void xet_transfer_free(XetTransfer *transfer)');
const freeError = lib.func('void xet_free_error(XetError *error)');

function check(error) {
  if (error === null) return;
  const { message } = koffi.decode(error, XetError);
  freeError(error);
  throw new Error(message);
}

function main(repo, file) {
  const client = [null];
  check(create(null, client)); // HF_TOKEN, HF_HOME, ... as ever
  try {
    // What isn't named is NULL or 0, which means the default.
    const options = { repo_id: repo, filename: file, struct_size: koffi.sizeof(XetDownloadOptions) };
    for (const name of Object.keys(XetDownloadOptions.members)) {
      options[name] ??= /_len$|_ms$|^flags$/.test(name) ? 0 : null;
    }
    const transfer = [null];
    check(download(client[0], options, null, transfer));
    console.log(koffi.decode(transfer[0], XetTransfer).path);
    freeTransfer(transfer[0]);
  } finally {
    freeClient(client[0]);
  }
}

if (process.argv.length !== 4) {
  console.error('usage: node download.js REPO FILE');
  process.exitCode = 2;
} else {
  try {
    main(process.argv[2], process.argv[3]);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
