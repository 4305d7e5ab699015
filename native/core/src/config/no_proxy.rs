//! What needs no proxy, as `NO_PROXY` lists it.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exempt {
    place: Place,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Everything,
    Addresses(IpNet),
    /// A host and all below it, in lower case, without a dot before it.
    Domain(String),
}

impl Exempt {
    /// `*`, `example.com`, `.example.com`, `*.example.com`, `10.0.0.0/8`, `10.1.2.3`, `::1`, `[::1]`, and
    /// each but a range with `:port`. `None`: there's nothing in it.
    pub(super) fn parse(entry: &str) -> Option<Self> {
        let entry = entry.split_once("://").map_or(entry, |(_, place)| place);
        if entry == "*" {
            return Some(Self { place: Place::Everything, port: None });
        }
        if let Some(range) = range(entry) {
            return Some(Self { place: Place::Addresses(range), port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (entry, None),
            },
            None => (entry, None),
        };
        if let Some(range) = range(host) {
            return Some(Self { place: Place::Addresses(range), port });
        }
        let domain = host.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
        (!domain.is_empty()).then_some(Self { place: Place::Domain(domain), port })
    }

    pub(super) fn covers(&self, url: &Url) -> bool {
        if self.port.is_some() && self.port != url.port_or_known_default() {
            return false;
        }
        match (&self.place, url.host()) {
            (Place::Everything, _) => true,
            (Place::Addresses(range), Some(url::Host::Ipv4(address))) => {
                range.contains(&IpAddr::V4(address))
            }
            (Place::Addresses(range), Some(url::Host::Ipv6(address))) => {
                range.contains(&IpAddr::V6(address))
            }
            (Place::Domain(domain), Some(url::Host::Domain(host))) => host
                .trim_end_matches('.')
                .strip_suffix(domain.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.')),
            _ => false,
        }
    }
}

/// One address, perhaps in brackets, or a range of them.
fn range(text: &str) -> Option<IpNet> {
    let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    text.parse().ok().or_else(|| address.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::super::Environment;
    use super::super::proxy::Proxies;

    /// The proxy's URL for a request to `url`.
    fn way<const N: usize>(variables: [(&str, &str); N], url: &str) -> Option<String> {
        let proxies = Proxies::resolve(&Environment::of(variables)).unwrap();
        proxies.of(&Url::parse(url).unwrap()).map(|proxy| proxy.url().to_string())
    }

    /// What goes straight to its host.
    #[test]
    fn exempt_hosts_need_no_proxy() {
        for (list, url, direct) in [
            ("*", "http://hub.example/", true),
            ("hub.example", "http://hub.example/", true),
            ("HUB.example", "http://hub.EXAMPLE:8080/", true),
            ("hub.example", "http://cdn.hub.example/", true),
            ("hub.example", "http://myhub.example/", false),
            (".hub.example", "http://cdn.hub.example/", true),
            ("*.hub.example", "http://cdn.hub.example/", true),
            ("a, b ,hub.example", "http://hub.example/", true),
            ("a b hub.example", "http://hub.example/", true),
            ("hub.example:8080", "http://hub.example:8080/", true),
            ("hub.example:8080", "http://hub.example/", false),
            ("hub.example:80", "http://hub.example/", true),
            ("http://hub.example", "http://hub.example/", true),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("10.1.2.3", "http://10.1.2.3:99/", true),
            ("10.1.2.3:99", "http://10.1.2.3:99/", true),
            ("10.1.2.3:98", "http://10.1.2.3:99/", false),
            ("fe80::2", "http://[fe80::2]/", true),
            ("[fe80::2]:7", "http://[fe80::2]:7/", true),
            ("[fe80::2]:8", "http://[fe80::2]:7/", false),
            ("fe80::/10", "http://[fe80::1]/", true),
            (",, ,", "http://hub.example/", false),
            ("", "http://hub.example/", false),
        ] {
            let found = way([("HTTP_PROXY", "p"), ("NO_PROXY", list)], url);
            assert_eq!(found.is_none(), direct, "{list} {url}");
        }
        let both = [("HTTP_PROXY", "p"), ("no_proxy", "a.example"), ("NO_PROXY", "b.example")];
        assert_eq!(way(both, "http://a.example/"), None);
        assert!(way(both, "http://b.example/").is_some());
    }
}
