//! Address ranges in CIDR notation, such as `10.20.0.0/16`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CidrRange {
    base: IpAddr,
    prefix: u8,
}

impl CidrRange {
    /// Whether `address` lies in the range. An IPv4 address mapped into IPv6
    /// counts as the IPv4 address it stands for.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                mask(base.to_bits().into(), 32, self.prefix)
                    == mask(address.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                mask(base.to_bits(), 128, self.prefix) == mask(address.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

fn mask(bits: u128, width: u8, prefix: u8) -> u128 {
    bits.checked_shr(u32::from(width - prefix)).unwrap_or(0)
}

impl FromStr for CidrRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (base, prefix) = text.split_once('/').ok_or("has no /prefix")?;
        let base: IpAddr = base.parse().map_err(|_| "has no valid address before the /")?;
        let prefix: u8 = prefix.parse().map_err(|_| "has no valid number after the /")?;
        if prefix > if base.is_ipv4() { 32 } else { 128 } {
            return Err("has a prefix longer than the address");
        }
        Ok(Self { base, prefix })
    }
}

impl fmt::Display for CidrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl<'de> serde::Deserialize<'de> for CidrRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|problem| serde::de::Error::custom(format_args!("{text:?} {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_the_prefix_says() {
        let cases = [
            ("10.20.0.0/16", "10.20.255.1", true),
            ("10.20.0.0/16", "10.21.0.1", false),
            ("10.20.0.0/16", "::ffff:10.20.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.8", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
            ("10.0.0.0/8", "fd00::1", false),
        ];
        for (range, address, expected) in cases {
            let range: CidrRange = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{range} {address}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "host/8"] {
            assert!(text.parse::<CidrRange>().is_err(), "{text}");
        }
    }
}
