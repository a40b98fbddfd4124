//! Where the broker is. The credentials in the URL are never printed.

use std::fmt;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use secrecy::{ExposeSecret as _, SecretString};
use vz_sync_actors::ports::PortResult;

use super::error::refused;

/// A broker and a vhost, with the credentials for it.
#[derive(Clone)]
pub(super) struct Address(AMQPUri);

impl Address {
    /// Reads `amqp[s]://user:password@host[:port]/vhost[?heartbeat=seconds]`.
    /// The vhost is percent-encoded; without one, or with an empty one, it is `/`.
    pub(super) fn parse(url: &SecretString, heartbeat: Duration) -> PortResult<Self> {
        let text = url.expose_secret();
        // The parser's own message may quote the URL.
        let mut uri: AMQPUri = text.parse().map_err(|_: String| {
            refused("the AMQP URL is not of the form amqp[s]://user:password@host:port/vhost")
        })?;
        // lapin takes [::1] for no host at all and would go to localhost.
        if let Some(host) = bracketed(text) {
            host.clone_into(&mut uri.authority.host);
        }
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        let seconds = heartbeat.as_secs().clamp(1, u64::from(u16::MAX)) as u16;
        uri.query.heartbeat.get_or_insert(seconds);
        Ok(Self(uri))
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }

    pub(super) fn host(&self) -> &str {
        &self.0.authority.host
    }
}

/// The address between brackets of a URL's authority.
fn bracketed(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?;
    host.strip_prefix('[')?.split_once(']').map(|(address, _)| address)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.0;
        write!(f, "{scheme}://{}:{} vhost {vhost}", authority.host, authority.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Address {
        Address::parse(&url.to_owned().into(), Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn a_url_names_host_vhost_and_heartbeat_and_hides_the_password() {
        let address = parsed("amqps://sync:canary%2Fpw@mq.example:5999/team%2Fone?heartbeat=7");
        assert_eq!(address.to_string(), "amqps://mq.example:5999 vhost team/one");
        assert_eq!(format!("{address:?}"), address.to_string());
        assert!(address.is_encrypted());
        assert_eq!(address.uri().query.heartbeat, Some(7));
        assert_eq!(address.uri().authority.userinfo.password, "canary/pw");
    }

    #[test]
    fn without_a_vhost_it_is_the_default_one() {
        for url in ["amqp://mq.example", "amqp://mq.example/", "amqp://mq.example/%2f"] {
            assert_eq!(parsed(url).uri().vhost, "/", "{url}");
        }
        assert_eq!(parsed("amqp://mq.example").uri().query.heartbeat, Some(10));
    }

    #[test]
    fn an_ipv6_address_is_kept() {
        assert_eq!(parsed("amqp://a:b@[::1]:5672/x").host(), "::1");
    }

    #[test]
    fn a_bad_url_is_refused_without_being_quoted() {
        for url in ["canary-secret", "http://u:canary-secret@h/", "amqp://u:canary-secret@h:port/"]
        {
            let url = SecretString::from(url.to_owned());
            let error = Address::parse(&url, Duration::from_secs(10)).unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
            assert!(!error.is_transient());
        }
    }
}
