//! Proxies, as the environment names them: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
//!
//! Names in lower case come first, as in Python's `urllib`, and so in `huggingface_hub`; an empty value
//! is none. A value that can't be used is an error: going past a proxy that somebody has ordered would
//! send the traffic, token included, where it wasn't meant to go.

use std::fmt;

use url::Url;

use super::Environment;
use super::no_proxy::Exempt;
use crate::model::error::{Error, Result};

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxies of a client.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    variable: String,
    url: Url,
}

impl Proxies {
    /// The proxies that `environment` names. Errors name the variable, and show nothing of its value: a
    /// password may be in it.
    pub(super) fn resolve(environment: &Environment) -> Result<Self> {
        // Set for a CGI program, whose HTTP_PROXY may be a header of the request it serves.
        let is_cgi = environment.is_set("REQUEST_METHOD");
        let find = |names: [&str; 2]| {
            for name in names {
                if let Some(value) = environment.text(name)? {
                    return Proxy::parse(name, &value).map(Some);
                }
            }
            Ok(None)
        };
        let http = find(["http_proxy", if is_cgi { "http_proxy" } else { "HTTP_PROXY" }])?;
        let https = find(["https_proxy", "HTTPS_PROXY"])?;
        // Where it stands for neither, it needn't be of use.
        let is_wanted = http.is_none() || https.is_none();
        let all = if is_wanted { find(["all_proxy", "ALL_PROXY"])? } else { None };
        let exempt = match environment.text("no_proxy")? {
            Some(list) => list,
            None => environment.text("NO_PROXY")?.unwrap_or_default(),
        };
        let exempt = exempt.split([',', ' ', '\t', '\n']).filter_map(Exempt::parse).collect();
        Ok(Self { http: http.or_else(|| all.clone()), https: https.or(all), exempt })
    }

    /// The proxy that a request to `url` goes through; `None`: it goes straight there, as does plain HTTP to
    /// this very machine, whatever the variables say.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        if is_plain_loopback(url) {
            return None;
        }
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        (!self.exempt.iter().any(|exempt| exempt.covers(url))).then_some(proxy)
    }
}

/// Whether the URL is plain HTTP to this machine.
fn is_plain_loopback(url: &Url) -> bool {
    url.scheme() == "http"
        && match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

impl Proxy {
    fn parse(variable: &str, value: &str) -> Result<Self> {
        let refuse = |problem: &str| {
            let wanted = "it must be like http://proxy.example:3128 or http://user:password@proxy.example:3128";
            Err(Error::invalid(variable, format!("{problem}; {wanted}")))
        };
        if value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return refuse("has a space, a line break or a control character in it");
        }
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let scheme = scheme.to_ascii_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) {
            return refuse(&format!("has a scheme that is none of {}", SCHEMES.join(", ")));
        }
        // A proxy has no path that an @ could be in: what is before the last one is the user's name and
        // password.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(['/', '?', '#'])) {
            return refuse(
                "has one of / ? # in its user name or password, where they are written %2F, %3F and %23",
            );
        }
        let (place, path) = place.split_at(place.find(['/', '?', '#']).unwrap_or(place.len()));
        // Such as `http:/proxy:3128`, whose host would be called http.
        if place.ends_with(':') || !(value.contains("://") || matches!(path, "" | "/")) {
            return refuse("has no // between its scheme and its host, or no port after its colon");
        }
        if place.contains('\\') {
            return refuse("has a backslash in its host");
        }
        // The parser knows well what a host is only where the scheme is one of the web's.
        let Ok(web) = Url::parse(&format!("http://{place}")) else {
            return refuse("names no host that can be understood");
        };
        let port = match (scheme.as_str(), port_of(place)) {
            (_, Some(port)) => port,
            ("http", None) => 80,
            ("https", None) => 443,
            (_, None) => 1080,
        };
        let host = web.host_str().unwrap_or_default();
        let Ok(mut url) = Url::parse(&format!("{scheme}://{host}:{port}/")) else {
            return refuse("names no host that can be understood");
        };
        if let Some(user) = user {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name, Some(password)),
                None => (user, None),
            };
            let set = url.set_username(&encoded(name)).and_then(|()| {
                let password = password.map(encoded);
                url.set_password(password.as_deref())
            });
            if set.is_err() {
                return refuse("has a user name that can't be understood");
            }
        }
        Ok(Self { variable: variable.to_owned(), url })
    }

    /// The variable that named it.
    #[must_use]
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// With the user's name and password, percent-encoded. Not to be shown.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same for a request to `target`. The address of an IPv6 host needs no looking up, and can't be: whoever
    /// looks names up gets it in its brackets. So it goes to the proxy as it is.
    #[must_use]
    pub fn url_for(&self, target: &Url) -> Url {
        let mut url = self.url.clone();
        if matches!(target.host(), Some(url::Host::Ipv6(_))) {
            let scheme = match url.scheme() {
                "socks5" => "socks5h",
                // Which says that it has no such addresses.
                "socks4" => "socks4a",
                _ => return url,
            };
            // Between schemes that the web hasn't, it can't fail.
            let changed = url.set_scheme(scheme);
            debug_assert!(changed.is_ok());
        }
        url
    }

    /// Whether talking to the proxy itself needs certificates.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }
}

/// For people: the address, and where it was found. No password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        write!(f, "the proxy {host}:{port} ({})", self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number after the last colon, which isn't one of an IPv6 address. The web's parser leaves out 80.
fn port_of(place: &str) -> Option<u16> {
    let after_address = &place[place.rfind(']').map_or(0, |end| end + 1)..];
    after_address.rsplit_once(':')?.1.parse().ok()
}

/// A name or password in which characters may be percent-encoded, with all of those that need it.
fn encoded(text: &str) -> String {
    let plain = percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    percent_encoding::percent_encode(&plain, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies<const N: usize>(variables: [(&str, &str); N]) -> Result<Proxies> {
        Proxies::resolve(&Environment::of(variables))
    }

    /// The proxy's URL, with the password, for a request to `url`.
    fn way<const N: usize>(variables: [(&str, &str); N], url: &str) -> Option<String> {
        let proxies = proxies(variables).unwrap();
        proxies.of(&Url::parse(url).unwrap()).map(|proxy| proxy.url.to_string())
    }

    /// An IPv6 address isn't looked up, by nobody; names are, by whom the scheme says.
    #[test]
    fn addresses_go_to_the_proxy_as_they_are() {
        for (value, target, scheme) in [
            ("socks5://p", "https://[2001:db8::1]/", "socks5h"),
            ("socks5h://p", "https://[2001:db8::1]/", "socks5h"),
            ("socks4://p", "https://[2001:db8::1]/", "socks4a"),
            ("http://p", "https://[2001:db8::1]/", "http"),
            ("socks5://p", "https://hub.example/", "socks5"),
            ("socks5://p", "https://10.0.0.1/", "socks5"),
        ] {
            let target = Url::parse(target).unwrap();
            let proxies = proxies([("HTTPS_PROXY", value)]).unwrap();
            let url = proxies.of(&target).unwrap().url_for(&target);
            assert_eq!(url.scheme(), scheme, "{value} {target}");
        }
    }

    /// The usual ways to write a proxy, and what they mean.
    #[test]
    fn proxies_are_understood() {
        for (value, url) in [
            ("http://proxy:3128", "http://proxy:3128/"),
            ("http://proxy:3128/", "http://proxy:3128/"),
            ("HTTP://Proxy", "http://proxy/"),
            ("proxy:3128", "http://proxy:3128/"),
            ("proxy:3128/", "http://proxy:3128/"),
            ("http://proxy:3128/path?x", "http://proxy:3128/"),
            ("http:3128", "http://http:3128/"),
            ("10.0.0.1", "http://10.0.0.1/"),
            ("http://[::1]:3128", "http://[::1]:3128/"),
            ("http://[fe80::1]", "http://[fe80::1]/"),
            ("https://proxy", "https://proxy/"),
            ("https://proxy:80", "https://proxy:80/"),
            ("socks5://proxy", "socks5://proxy:1080/"),
            ("socks5h://proxy:80", "socks5h://proxy:80/"),
            ("http://u:p@proxy:1", "http://u:p@proxy:1/"),
            ("http://u@proxy:1", "http://u@proxy:1/"),
            ("u:p@proxy:1", "http://u:p@proxy:1/"),
            ("http://u:p%40q@proxy:1", "http://u:p%40q@proxy:1/"),
            ("http://u:p@q@proxy:1", "http://u:p%40q@proxy:1/"),
            ("http://u:p%23%2F%3f@proxy:1/", "http://u:p%23%2F%3F@proxy:1/"),
            ("http://u:p:q@proxy:1", "http://u:p%3Aq@proxy:1/"),
            (r"http://dom\u:p@proxy:1", "http://dom%5Cu:p@proxy:1/"),
        ] {
            let found = way([("HTTPS_PROXY", value)], "https://hub.example/");
            assert_eq!(found.as_deref(), Some(url), "{value}");
        }
    }

    /// A value that can't be used is never passed over, and never shown.
    #[test]
    fn unusable_proxies_are_refused() {
        for variable in
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        {
            for value in [
                r"p\s",
                "a b",
                " ",
                "::::",
                "ftp://proxy:1",
                "http://",
                "http://proxy:3128\n",
                "http://:80",
                "http://proxy:99999",
                "http://proxy:port",
                "http://u:secret@",
                "http://u:secret@a b:1",
                "secret://proxy",
                "http://u:sec\tret@proxy",
                "http://u:secret#@proxy",
                "http://u:secret/@proxy",
                "http://u:?secret@proxy",
                "http://[::1:80",
                "https:///path",
                "http:/127.0.0.1:1",
                "http:/secret",
                "http:/",
                "http//127.0.0.1:1",
                "http://127.0.0.1:",
                "socks5:/proxy:1080",
                "//proxy:3128",
                "proxy:3128/path",
            ] {
                let error = proxies([(variable, value)]).unwrap_err();
                assert_eq!(error.context().field.as_deref(), Some(variable), "{value}");
                assert!(!error.message().contains("secret"), "{error}");
            }
        }
    }

    /// Only plain HTTP to this very machine does without a proxy by itself.
    #[test]
    fn plain_loopback_is_told_from_the_rest() {
        for (url, local) in [
            ("http://127.0.0.1:8080/x", true),
            ("http://localhost/", true),
            ("http://[::1]:9/", true),
            ("https://127.0.0.1/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
            ("https://huggingface.co/", false),
        ] {
            assert_eq!(is_plain_loopback(&Url::parse(url).unwrap()), local, "{url}");
            assert_eq!(way([("ALL_PROXY", "p")], url).is_none(), local, "{url}");
        }
    }

    /// Which of several variables counts.
    #[test]
    fn variables_have_an_order() {
        let (low, up) = (("http_proxy", "low"), ("HTTP_PROXY", "up"));
        assert_eq!(way([low, up], "http://hub/").as_deref(), Some("http://low/"));
        assert_eq!(way([("http_proxy", ""), up], "http://hub/").as_deref(), Some("http://up/"));
        assert_eq!(way([low, ("HTTP_PROXY", "")], "http://hub/").as_deref(), Some("http://low/"));
        assert_eq!(way([up], "https://hub/"), None);
        assert_eq!(way([("all_proxy", "a"), up], "https://hub/").as_deref(), Some("http://a/"));
        assert_eq!(way([("all_proxy", "a"), up], "http://hub/").as_deref(), Some("http://up/"));
        let cgi = ("REQUEST_METHOD", "GET");
        assert_eq!(way([up, cgi], "http://hub/"), None);
        assert_eq!(way([low, up, cgi], "http://hub/").as_deref(), Some("http://low/"));
    }
}
