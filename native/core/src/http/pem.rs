//! Certificates of trusted authorities in files, as OpenSSL and curl take them: PEM with whatever lies around it, a
//! mark of UTF-8's, any line ends, indentation, and certificates that say themselves what they are trusted for.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// What was found in a file or folder.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// What can't be used, and why.
    pub(super) problems: Vec<String>,
}

/// The object identifiers of what a certificate may be trusted for: the authentication of servers, and everything.
const SERVERS: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 3, 1], &[0x55, 0x1d, 0x25, 0]];

const SEQUENCE: u8 = 0x30;
const IDENTIFIER: u8 = 0x06;
/// The list of what a certificate isn't trusted for.
const REJECTED: u8 = 0xa0;

impl Bundle {
    pub(super) fn add_file(&mut self, file: &Path) {
        match fs::read(file) {
            Ok(content) => self.add(&content, file),
            Err(error) => self.add_problem(file, error),
        }
    }

    /// Of each file once, under however many names: folders for OpenSSL have links that are named by a hash.
    pub(super) fn add_folder(&mut self, folder: &Path) {
        let mut seen = HashSet::new();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.add_problem(folder, error),
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    self.add_problem(folder, error);
                    continue;
                }
            };
            match path.metadata() {
                Ok(kind) if !kind.is_file() || !seen.insert((kind.dev(), kind.ino())) => {}
                Ok(_) => self.add_file(&path),
                // A link to what has gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.add_problem(&path, error),
            }
        }
        self.certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        self.certificates.dedup();
    }

    fn add_problem(&mut self, path: &Path, problem: impl std::fmt::Display) {
        self.problems.push(format!("{problem} ({})", path.display()));
    }

    fn add(&mut self, content: &[u8], file: &Path) {
        if let Some(form) = another_form(content) {
            return self.add_problem(file, form);
        }
        let (text, others) = plain(content);
        let before = self.certificates.len();
        for read in CertificateDer::pem_slice_iter(&text) {
            match read.map_err(|error| problem_of(&error)) {
                Ok(der) => match for_servers(&der) {
                    Ok(certificate) => {
                        self.certificates.push(CertificateDer::from(certificate.to_vec()));
                    }
                    Err(problem) => self.add_problem(file, problem),
                },
                Err(problem) => self.add_problem(file, problem),
            }
        }
        if self.certificates.len() == before && !others.is_empty() {
            self.add_problem(file, format!("no CERTIFICATE, but {}", others.join(", ")));
        }
    }
}

/// What is wrong with PEM, without what stands in it, which the library quotes: it may be a key.
fn problem_of(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section without its END on a line of its own",
        pem::Error::IllegalSectionStart { .. } => "a line that BEGINs a section in no known form",
        pem::Error::Base64Decode(_) => "a section that isn't base64",
        _ => "no PEM",
    }
}

/// What a file is, if that is known to be no PEM, and what makes PEM of it.
fn another_form(content: &[u8]) -> Option<&'static str> {
    match content {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("text in UTF-16, which must be UTF-8"),
        [SEQUENCE, 0x80..=0x84, ..] => {
            Some("DER and not PEM, which `openssl x509 -inform der` makes of a certificate")
        }
        _ => None,
    }
}

/// PEM in its strict form, in which each certificate has today's label; and the labels of what is none.
fn plain(content: &[u8]) -> (Vec<u8>, Vec<String>) {
    const BEGIN: &[u8] = b"-----BEGIN ";
    /// Of labels that are in use, in bytes.
    const LONGEST: usize = 40;
    let (mut text, mut others) = (Vec::with_capacity(content.len()), Vec::new());
    for line in content.split(|byte| matches!(byte, b'\n' | b'\r')) {
        // Files that were put together have one in their midst, too.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
        let label = line.strip_prefix(BEGIN).or_else(|| line.strip_prefix(b"-----END "));
        match label.and_then(|label| label.strip_suffix(b"-----")) {
            Some(b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE" | b"CERTIFICATE") => {
                let is_begin = line.starts_with(BEGIN);
                text.extend_from_slice(if is_begin { BEGIN } else { b"-----END " });
                text.extend_from_slice(b"CERTIFICATE-----");
            }
            other => {
                // Where line ends were lost, a whole file stands between the first and the last dashes.
                let is_label = |label: &&[u8]| {
                    line.starts_with(BEGIN) && label.len() <= LONGEST && !label.contains(&b'-')
                };
                if let Some(label) = other.filter(is_label) {
                    others.push(String::from_utf8_lossy(label).into_owned());
                }
                text.extend_from_slice(line);
            }
        }
        text.push(b'\n');
    }
    others.sort_unstable();
    others.dedup();
    (text, others)
}

/// The certificate alone, of one that OpenSSL's own list of what it's trusted for may follow, if that has servers.
fn for_servers(der: &[u8]) -> Result<&[u8], &'static str> {
    let Some((_, _, length)) = element(der) else { return Ok(der) };
    let (certificate, mut rest) = der.split_at(length);
    if let Some((SEQUENCE, lists, _)) = element(rest) {
        rest = lists;
        while let Some((tag, list, length)) = element(rest) {
            let has_servers = has_servers(list);
            if (tag == SEQUENCE && !has_servers) || (tag == REJECTED && has_servers) {
                return Err("a certificate that isn't trusted for servers, as it says itself");
            }
            rest = &rest[length..];
        }
    }
    Ok(certificate)
}

fn has_servers(mut list: &[u8]) -> bool {
    while let Some((tag, value, length)) = element(list) {
        if tag == IDENTIFIER && SERVERS.contains(&value) {
            return true;
        }
        list = &list[length..];
    }
    false
}

/// The first element of DER: its tag, its content, and its length with both.
fn element(der: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, head) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let bytes = rest.get(..usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, 2 + bytes.len())
        }
        _ => return None,
    };
    let end = head.checked_add(length)?;
    Some((tag, der.get(head..end)?, end))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// Something that looks like a certificate from afar.
    const CERTIFICATE: &[u8] = &[SEQUENCE, 3, 2, 1, 7];

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn found(content: &[u8]) -> Bundle {
        let mut found = Bundle::default();
        found.add(content, Path::new("file.pem"));
        found
    }

    /// A key, whose line ends were lost, stays what it is: nobody's business.
    #[test]
    fn nothing_of_a_file_is_told() {
        let text = pem("PRIVATE KEY", b"a secret key") + &pem("CERTIFICATE", CERTIFICATE);
        let secret = STANDARD.encode(b"a secret key");
        for lost in ["", " "] {
            let problems = found(text.replace('\n', lost).as_bytes()).problems.concat();
            let bytes = secret.as_bytes().iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
            assert!(!problems.is_empty() && !problems.contains(&secret), "{problems}");
            assert!(!problems.contains(&bytes), "{problems}");
        }
    }

    /// However it's written down.
    #[test]
    fn certificates_are_found_in_each_form() {
        let one = pem("CERTIFICATE", CERTIFICATE);
        for text in [
            one.clone(),
            format!("\u{feff}{one}"),
            one.replace('\n', "\r\n"),
            one.replace('\n', "\r"),
            one.replace('\n', " \t\n"),
            one.replace('\n', "\n    "),
            format!("# An authority: x\n=====\n\n{one}# end\n"),
            one.trim_end().to_owned(),
            pem("X509 CERTIFICATE", CERTIFICATE),
            format!("{}{one}", pem("PRIVATE KEY", b"secret")),
        ] {
            let found = found(text.as_bytes());
            assert_eq!(found.certificates, [CertificateDer::from(CERTIFICATE)], "{text:?}");
            assert!(found.problems.is_empty(), "{found:?}");
        }
        let two = format!("\u{feff}{one}\u{feff}{one}");
        assert_eq!(found(two.as_bytes()).certificates.len(), 2);
    }

    /// OpenSSL's own list of purposes counts, as it does there.
    #[test]
    fn a_certificate_is_trusted_for_what_it_says() {
        let list = |tag: u8, identifiers: &[&[u8]]| {
            let each = |id: &&[u8]| [&[IDENTIFIER, u8::try_from(id.len()).unwrap()], *id].concat();
            let list: Vec<u8> = identifiers.iter().flat_map(each).collect();
            [&[tag, u8::try_from(list.len()).unwrap()], &list[..]].concat()
        };
        let [servers, everything] = SERVERS;
        let mail: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];
        for (lists, is_trusted) in [
            (vec![], true),
            (list(SEQUENCE, &[servers]), true),
            (list(SEQUENCE, &[mail, everything]), true),
            (list(SEQUENCE, &[mail]), false),
            (list(REJECTED, &[mail]), true),
            (list(REJECTED, &[mail, servers]), false),
            ([list(SEQUENCE, &[servers]), list(REJECTED, &[servers])].concat(), false),
            // A name, too.
            ([list(SEQUENCE, &[servers]), vec![0x0c, 1, b'x']].concat(), true),
        ] {
            let aux = [&[SEQUENCE, u8::try_from(lists.len()).unwrap()], &lists[..]].concat();
            let text = pem("TRUSTED CERTIFICATE", &[CERTIFICATE, &aux].concat());
            let found = found(text.as_bytes());
            assert_eq!(found.certificates.len(), usize::from(is_trusted), "{lists:x?}");
            assert_eq!(found.problems.len(), usize::from(!is_trusted), "{lists:x?}");
            assert!(found.certificates.iter().all(|found| found.as_ref() == CERTIFICATE));
        }
    }

    /// What can't be taken is named, and no secret is.
    #[test]
    fn what_is_no_certificate_is_named() {
        let key = pem("PRIVATE KEY", b"secret");
        for (content, named) in [
            (&b"\xff\xfe-\0-\0"[..], "UTF-16"),
            (&[SEQUENCE, 0x82, 1, 1, 0], "DER"),
            (pem("PKCS7", b"x").as_bytes(), "PKCS7"),
            (key.as_bytes(), "PRIVATE KEY"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "END"),
        ] {
            let found = found(content);
            assert!(found.certificates.is_empty());
            let problem = found.problems.first().unwrap();
            assert!(problem.contains(named) && problem.contains("file.pem"), "{problem}");
            assert!(!problem.contains(&STANDARD.encode(b"secret")), "{problem}");
        }
    }
}
