//! Which addresses a platform may have. A platform's URL is typed in by people, so it must not
//! lead into our own network: the URL is judged as text, and every address that its name resolves
//! to is judged again at the moment it is used, so that rebinding gains nothing.
//!
//! Deliberately absent: redirects. The client follows none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::CidrRange;

/// What installations may relax.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressPolicy {
    /// Private and special ranges that may be asked (a platform in one's own network).
    pub allowed_ranges: Vec<CidrRange>,
    /// Plain http to the loopback interface may be asked (the simulator).
    pub allow_loopback_http: bool,
}

/// Why a platform URL is refused; fixed texts, the URL is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedUrl {
    /// Not a URL, or one with blanks, control characters or backslashes.
    #[error("the platform URL cannot be read")]
    Unreadable,
    /// Neither https nor permitted http.
    #[error("the platform URL must begin with https://")]
    NotHttps,
    /// `user:password@` in front of the host.
    #[error("the platform URL must not contain a user name or password")]
    UserInfo,
    /// More than scheme, host and port.
    #[error("the platform URL must have no path, query or fragment")]
    NotBare,
    /// A host in a range that is not public.
    #[error("the platform URL leads to a private or special address")]
    PrivateHost,
}

/// A name resolved to nothing but refused addresses.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the platform's name leads to private or special addresses only")]
pub(super) struct RefusedAddress;

impl AddressPolicy {
    /// Judges a base URL, and answers it parsed.
    pub fn check(&self, base_url: &str) -> Result<Url, RefusedUrl> {
        // The URL parser drops tabs and line ends and reads a backslash as a slash, so that what
        // a person sees and what is asked could differ.
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
        if base_url.len() > 2048 || base_url.contains(odd) {
            return Err(RefusedUrl::Unreadable);
        }
        let url = Url::parse(base_url).map_err(|_| RefusedUrl::Unreadable)?;
        if base_url.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::UserInfo);
        }
        let host = url.host_str().ok_or(RefusedUrl::Unreadable)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>().ok();
        let local = is_local_name(host) || address.is_some_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if self.allow_loopback_http && local => {}
            _ => return Err(RefusedUrl::NotHttps),
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(RefusedUrl::NotBare);
        }
        if url.port() == Some(0) {
            return Err(RefusedUrl::Unreadable);
        }
        let passes = match address {
            Some(address) => self.permits(address, local),
            None => !local || !self.allowed_ranges.is_empty() || self.allow_loopback_http,
        };
        if passes { Ok(url) } else { Err(RefusedUrl::PrivateHost) }
    }

    /// Judges an address; `named_local` is whether it was asked for by a loopback name.
    fn permits(&self, address: IpAddr, named_local: bool) -> bool {
        self.allowed_ranges.iter().any(|range| range.contains(address))
            || (self.allow_loopback_http && named_local && address.is_loopback())
            || is_public(address)
    }
}

/// `localhost` and everything below it, with or without the root dot.
fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let last = host.rsplit('.').next().unwrap_or(host);
    last.eq_ignore_ascii_case("localhost")
}

/// Whether an address is one that the public internet routes to.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // IANA's special-purpose registry, multicast and the reserved top.
    const SPECIAL: [(u32, u32); 14] = [
        (0x0000_0000, 8),
        (0x0a00_0000, 8),
        (0x6440_0000, 10),
        (0x7f00_0000, 8),
        (0xa9fe_0000, 16),
        (0xac10_0000, 12),
        (0xc000_0000, 24),
        (0xc000_0200, 24),
        (0xc058_6300, 24),
        (0xc0a8_0000, 16),
        (0xc612_0000, 15),
        (0xc633_6400, 24),
        (0xcb00_7100, 24),
        (0xe000_0000, 3),
    ];
    let address = u32::from(address);
    !SPECIAL.iter().any(|(net, bits)| (address ^ net) >> (32 - bits) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only 2000::/3 is routed. Mapped (::ffff:0:0/96), translated (64:ff9b::/96), unique local and
    // link-local addresses lie outside of it; tunnels that carry a v4 address lie inside.
    let [first, second, ..] = address.segments();
    let documentation = (first == 0x2001 && second == 0xdb8) || (first & 0xfff0) == 0x3ff0;
    let protocol = first == 0x2001 && second < 0x200;
    let six_to_four = first == 0x2002;
    (first & 0xe000) == 0x2000 && !documentation && !protocol && !six_to_four
}

/// Resolves names and lets through only what the policy permits.
pub(super) struct GuardedResolver(pub(super) AddressPolicy);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let local = is_local_name(name.as_str());
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept = found.filter(|address| policy.permits(address.ip(), local));
            let kept = kept.collect::<Vec<SocketAddr>>();
            if kept.is_empty() {
                return Err(RefusedAddress.into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_around_the_policy_are_refused() {
        use RefusedUrl::{NotBare, NotHttps, PrivateHost, Unreadable, UserInfo};
        let table = [
            ("http://app.hoster.example", NotHttps),
            ("ftp://app.hoster.example", NotHttps),
            ("file:///etc/passwd", Unreadable),
            ("gopher://127.0.0.1:70", NotHttps),
            ("app.hoster.example", Unreadable),
            ("//app.hoster.example", Unreadable),
            ("https://", Unreadable),
            ("https://user@app.hoster.example", UserInfo),
            ("https://app.hoster.example@127.0.0.1", UserInfo),
            ("https://app.hoster.example:443@127.0.0.1/", UserInfo),
            ("https://@127.0.0.1", UserInfo),
            ("https://app.hoster.example\\@127.0.0.1", Unreadable),
            ("https:\\\\127.0.0.1", Unreadable),
            ("https://127.0.0.1\t", Unreadable),
            ("https://127.0.0.1\n.hoster.example", Unreadable),
            ("https://app.hoster.example/1.0", NotBare),
            ("https://app.hoster.example?x=1", NotBare),
            ("https://app.hoster.example#x", NotBare),
            ("https://app.hoster.example:0", Unreadable),
            ("https://localhost", PrivateHost),
            ("https://LOCALHOST.", PrivateHost),
            ("https://x.localhost", PrivateHost),
            ("https://127.0.0.1", PrivateHost),
            ("https://127.1", PrivateHost),
            ("https://2130706433", PrivateHost),
            ("https://0x7f000001", PrivateHost),
            ("https://0177.0.0.1", PrivateHost),
            ("https://127.0.0.1.", PrivateHost),
            ("https://%31%32%37.0.0.1", PrivateHost),
            ("https://\u{ff11}27.0.0.1", PrivateHost),
            ("https://127\u{3002}0\u{3002}0\u{3002}1", PrivateHost),
            ("https://0.0.0.0", PrivateHost),
            ("https://10.1.2.3:8443", PrivateHost),
            ("https://100.64.0.1", PrivateHost),
            ("https://169.254.169.254", PrivateHost),
            ("https://172.31.255.255", PrivateHost),
            ("https://192.168.0.1", PrivateHost),
            ("https://198.18.0.1", PrivateHost),
            ("https://224.0.0.1", PrivateHost),
            ("https://255.255.255.255", PrivateHost),
            ("https://[::1]", PrivateHost),
            ("https://[::]", PrivateHost),
            ("https://[::ffff:127.0.0.1]", PrivateHost),
            ("https://[::ffff:8.8.8.8]", PrivateHost),
            ("https://[64:ff9b::7f00:1]", PrivateHost),
            ("https://[2002:7f00:1::]", PrivateHost),
            ("https://[2001:0:1::1]", PrivateHost),
            ("https://[2001:db8::1]", PrivateHost),
            ("https://[fd00::1]", PrivateHost),
            ("https://[fe80::1]", PrivateHost),
            ("https://[ff02::1]", PrivateHost),
        ];
        for (url, expected) in table {
            assert_eq!(AddressPolicy::default().check(url), Err(expected), "{url}");
        }
    }

    #[test]
    fn public_platforms_pass() {
        for url in [
            "https://app.hoster.example",
            "https://app.hoster.example/",
            "https://app.hoster.example:8443",
            "https://8.8.8.8",
            "https://[2606:4700::1111]",
            "https://m\u{fc}ller.example",
        ] {
            assert!(AddressPolicy::default().check(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn each_relaxation_relaxes_only_its_own() {
        let loopback = AddressPolicy { allow_loopback_http: true, ..AddressPolicy::default() };
        for url in ["http://127.0.0.1:8080", "http://[::1]:1", "http://localhost:8080"] {
            assert!(loopback.check(url).is_ok(), "{url}");
        }
        for url in ["http://10.0.0.1", "http://app.hoster.example", "https://10.0.0.1"] {
            assert!(loopback.check(url).is_err(), "{url}");
        }
        let ranges = ["10.0.0.0/8", "fc00::/7", "192.168.0.0/16", "127.0.0.0/8"];
        let allowed_ranges = ranges.iter().map(|range| range.parse().expect("a range")).collect();
        let private = AddressPolicy { allowed_ranges, ..AddressPolicy::default() };
        assert!(private.check("https://10.0.0.1").is_ok());
        assert_eq!(private.check("http://10.0.0.1"), Err(RefusedUrl::NotHttps));
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_when_it_is_used() {
        let name = || "localhost".parse::<Name>().expect("a name");
        let refused = GuardedResolver(AddressPolicy::default()).resolve(name()).await;
        assert!(refused.is_err_and(|error| error.is::<RefusedAddress>()));
        let policy = AddressPolicy { allow_loopback_http: true, ..AddressPolicy::default() };
        let passed = GuardedResolver(policy).resolve(name()).await;
        assert!(passed.is_ok_and(|mut found| found.all(|address| address.ip().is_loopback())));
    }
}
