// Package omecompat has the names, fields and signatures of pkg/xet of OME (sgl-project/ome), on top of package
// xet, so that a service moves by the change of an import:
//
//	import xet "github.com/xet-ffi/xet-ffi/go/omecompat"
//
// New code is better off with package xet, whose calls take a context and options, and return a report. Both
// may be used in one program; they share caches.
//
// # What is the same
//
// An empty Token of a Config sends none, whatever the environment holds; EnableDedup chooses between Xet and plain
// HTTP; WithViper reads the same keys and environment variables. Codes 1 to 8 and 99 mean what they meant, and
// the text of a rate limit has "rate limit" in it. A revision may be escaped as a part of a URL ("refs%2Fpr%2F7").
// When a download has finished, its LocalDir holds the files of the repo, and nothing else that the download has
// put there.
//
// # What differs
//
//   - Files are verified against the hashes that the Hub published before they get their names. A file that has the
//     right size and the wrong content is fetched again; so a folder that is downloaded once more is read once
//     more. What was interrupted goes on where it was: until a download into a LocalDir has finished, its notes
//     are in .cache/huggingface there.
//   - CacheDir has huggingface_hub's layout, and may be shared with it. A download without a LocalDir goes there, and
//     never into the working directory.
//   - RepoType counts, AllowPatterns and IgnorePatterns choose files (xet.WithAllowPatterns says how), and
//     ForceDownload, LocalFilesOnly, EtagTimeout and DownloadConfig.LogLevel are heeded. ForceFilename and
//     ProxiesAuth, which were ignored, are refused with code 1. ListRepoFiles asks the config's endpoint.
//   - Errors are *XetError that wrap an error of package xet. Code tells failures apart that were all 99, and goes on
//     from 9; Details is JSON, and not part of the text. nil requests and configurations are errors, too.
//   - A context ends a call within 100 ms, wherever it is. errors.Is finds context.Canceled and
//     context.DeadlineExceeded.
//   - Progress is reported on the goroutine that made the call, one report at a time; a panic of the handler ends the
//     call and comes out of it. SetProgressHandler doesn't affect downloads that are running.
//   - Logs go to Config.Logger if there is one, else to stderr. SetLogLevel takes effect at once, and leaves the
//     environment alone. A RUST_LOG counts as long as no configuration says anything about logs.
//   - There is no client that is made when the program starts, so XET_DISABLE_GLOBAL_CLIENT means nothing. Functions
//     that take a DownloadConfig make a client for each call, which is cheap.
//   - Module makes its client for who asks for one. It takes a *zap.Logger of the name "another_log", which OME's
//     logging provides beside its own interface, and works without.
//   - NewClient takes empty fields for the defaults, where it had some refused; CacheDir may be empty in Validate.
//   - UseXetBinding, EnableXetBinding and DisableXetBinding, which nothing calls, are not here: XET_FFI_TRANSPORT=http
//     switches Xet off.
package omecompat
